/* Sleeping and crash points: the few calls that the rest is built on. */
#include "base.h"

#ifdef TINES_DEBUG
#include "../platform/process.h"
#endif

tn_result tn_wait_on(_Atomic uint32_t *word, uint32_t expected, int64_t deadline) {
    int64_t left = TN_LONGEST_SLEEP;
    if (deadline != TN_FOREVER) {
        int64_t until = deadline - tn_now();
        if (until <= 0) return TN_TIMED_OUT;
        if (until < left) left = until;
    }
    switch (tn_word_wait(word, expected, left)) {
    case TN_SLEPT:
        return TN_TIMED_OUT;
    case TN_SIGNALLED:
        return TN_INTERRUPTED;
    default:
        return TN_OK;
    }
}

const char *const tn_step_names[TN_STEP_COUNT] = {
#define STEP(name) #name,
    TN_STEPS(STEP)
#undef STEP
};

#ifdef TINES_DEBUG
static _Atomic uint32_t countdowns[TN_STEP_COUNT];

void tn_step_arm(tn_step step, uint32_t countdown) {
    atomic_store(&countdowns[step], countdown);
}

void tn_step_pass(tn_step step) {
    if (atomic_load_explicit(&countdowns[step], memory_order_relaxed) == 0) return;
    if (atomic_fetch_sub(&countdowns[step], 1) == 1) tn_process_die();
}
#endif
