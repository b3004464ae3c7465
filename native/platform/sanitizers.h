/* What the code has to say to the compiler's sanitizers. */
#ifndef TINES_PLATFORM_SANITIZERS_H
#define TINES_PLATFORM_SANITIZERS_H

#if defined(__SANITIZE_THREAD__)
#define TN_THREAD_SANITIZER
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define TN_THREAD_SANITIZER
#endif
#endif

/* A read that may race and is checked afterwards (a sequence lock's reader). */
#ifdef TN_THREAD_SANITIZER
#define TN_VALIDATED_READ __attribute__((no_sanitize("thread"), noinline))
#else
#define TN_VALIDATED_READ
#endif

#endif
