/*
 * Context switches for x86-64 and aarch64: push the callee-saved registers, exchange stack pointers, pop, return.
 * See context.h.
 *
 * Processors predict returns with a stack of their own, which a switch does not exchange. So that it stays right as
 * often as possible, a switch returns with a return instruction paired with its call (both sides usually switch at the
 * same place), a new context is entered with a jump, and a context that ends leaves without calls of its own: then
 * everything that follows in the context that had started it is predicted correctly.
 */
#if !defined(ABTI_UCONTEXT)

    .text
    .globl abti_context_switch
    .hidden abti_context_switch
    .type abti_context_switch, %function
    .globl abti_context_start
    .hidden abti_context_start
    .type abti_context_start, %function

#if defined(__x86_64__)

    .macro save_registers       /* into the stack, whose pointer goes to *rdi */
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    .endm

    .p2align 4
abti_context_switch:            /* (rdi: void **save, rsi: void *to) */
    save_registers
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size abti_context_switch, . - abti_context_switch

    .p2align 4
abti_context_start:             /* (rdi: void **save, rsi: low, rdx: high, rcx: entry) */
    save_registers
    andq $-16, %rdx
    leaq -8(%rdx), %rsp         /* as if entry had been called */
    movq $0, (%rsp)             /* from nowhere: stack traces end here */
    xorl %ebp, %ebp
    jmpq *%rcx
    .size abti_context_start, . - abti_context_start

#elif defined(__aarch64__)

    .globl abti_context_restore
    .hidden abti_context_restore
    .type abti_context_restore, %function

    .macro save_registers       /* into the stack, whose pointer goes to *x0 */
    sub sp, sp, #160
    stp x19, x20, [sp, #0]
    stp x21, x22, [sp, #16]
    stp x23, x24, [sp, #32]
    stp x25, x26, [sp, #48]
    stp x27, x28, [sp, #64]
    stp x29, x30, [sp, #80]
    stp d8, d9, [sp, #96]
    stp d10, d11, [sp, #112]
    stp d12, d13, [sp, #128]
    stp d14, d15, [sp, #144]
    mov x9, sp
    str x9, [x0]
    .endm

    .p2align 4
abti_context_switch:            /* (x0: void **save, x1: void *to) */
    save_registers
abti_context_restore:           /* (x1: void *to) */
    mov sp, x1
    ldp x19, x20, [sp, #0]
    ldp x21, x22, [sp, #16]
    ldp x23, x24, [sp, #32]
    ldp x25, x26, [sp, #48]
    ldp x27, x28, [sp, #64]
    ldp x29, x30, [sp, #80]
    ldp d8, d9, [sp, #96]
    ldp d10, d11, [sp, #112]
    ldp d12, d13, [sp, #128]
    ldp d14, d15, [sp, #144]
    add sp, sp, #160
    ret
    .size abti_context_switch, . - abti_context_switch

    .p2align 4
abti_context_start:             /* (x0: void **save, x1: low, x2: high, x3: entry) */
    save_registers
    and x2, x2, #-16
    mov sp, x2
    mov x29, xzr
    mov x30, xzr                /* stack traces end here */
    br x3
    .size abti_context_start, . - abti_context_start

#endif
#endif

    .section .note.GNU-stack, "", %progbits
