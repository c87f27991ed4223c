/*
 * Faults from within: the functions of fault.c for a program that is linked with it. A program that is not gets
 * the same by LD_PRELOAD of libdango-test-fault.so and the variable DANGO_FAULT, which holds a plan.
 */
#ifndef DANGO_TESTS_FAULT_H
#define DANGO_TESTS_FAULT_H

/* Starts counting anew, with another plan (its words: see fault.c); NULL: count nothing. False: not a plan. */
_Bool dango_fault_plan(const char *plan);

/* Calls counted since then. */
unsigned long dango_fault_calls(void);

#endif
