/* The processor: how many cores there are, and what a thread does that waits without sleeping. */
#ifndef TINES_PLATFORM_PROCESSOR_H
#define TINES_PLATFORM_PROCESSOR_H

/* Cores that this process may use; 1 means that spinning is of no use. */
int tn_cores(void);

/* Let another thread have this core, if one is ready to run. */
void tn_yield(void);

/* Tell the core that this is a loop that waits. */
static inline void tn_relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

#endif
