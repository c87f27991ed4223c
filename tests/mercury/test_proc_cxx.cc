// The generator macros and headers, as C++.
extern "C" {
#include "tests/support/test.h"
}
#include "test_proc.c"
