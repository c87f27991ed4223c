# The front door. Every target does all of its own set-up on a fresh Debian or Ubuntu machine.
#
#   make demo       packages, build, then a real stream through a real server, verified byte by byte
#   make check      packages, build, every test: release, AddressSanitizer + UBSan, ThreadSanitizer
#   make build      build/bin and build/lib
#   make deps       install what packages.txt lists
#   make bench      the benchmarks of bench/, medians and ratios
#   make lint       clang-format and clang-tidy
#   make nightly    the long tests: kill rounds, a bare Debian, churn
#   make install    PREFIX=/usr/local

PREFIX ?= /usr/local
JOBS ?= $(shell nproc)
# Most tests wait for processes most of their time; those under ThreadSanitizer compute.
TEST_JOBS ?= $(shell expr 2 '*' $(JOBS))
CTEST = ctest --output-on-failure --no-tests=error

.PHONY: help deps build demo check check-release check-asan check-tsan nightly bench lint install clean

help:
	@sed -n 's/^#   //p' Makefile

deps:
	@scripts/install-packages

build: deps
	cmake --preset release
	cmake --build build -j $(JOBS)

demo: build
	scripts/demo

check: check-release check-asan check-tsan

check-release: build
	$(CTEST) -j $(TEST_JOBS) --test-dir build

check-asan: deps
	cmake --preset asan
	cmake --build build-asan -j $(JOBS)
	$(CTEST) -j $(TEST_JOBS) --test-dir build-asan -LE 'doc'

# The threaded unit tests; scenario tests start whole processes and gain nothing from this one.
check-tsan: deps
	cmake --preset tsan
	cmake --build build-tsan -j $(JOBS)
	$(CTEST) -j $(JOBS) --test-dir build-tsan -L unit

nightly: build
	DANGO_NIGHTLY=1 $(CTEST) -j $(JOBS) --test-dir build
	scripts/test-bare-debian

bench: build
	scripts/bench

lint: deps
	cmake --preset release
	scripts/lint

install: build
	cmake --install build --prefix $(PREFIX)

clean:
	rm -rf build build-asan build-tsan build-coverage
