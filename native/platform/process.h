/* Processes: who this one is, and whether another one lives.
 *
 * A pid alone names a process badly, as the system gives it to another one when it is free. So a process
 * is known by its pid and its birth, and a forked child that has no birth yet by a mark. */
#ifndef TINES_PLATFORM_PROCESS_H
#define TINES_PLATFORM_PROCESS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

uint32_t tn_process_self(void);

/* The space of pids that this process lives in, as a pid means nothing outside of it; 0: not known. */
uint64_t tn_process_space(void);

/* When a process began, in the system's own measure; nothing that lives has TN_GONE. */
enum { TN_GONE = 0, TN_BIRTH_UNKNOWN = 1 };
uint64_t tn_process_birth(uint32_t pid);
/* Whether the process lives that had this pid and this birth. Only ever false of one that has ended: where
 * the system does not say, for want of a descriptor for instance, the pid has to do. */
bool tn_process_lives(uint32_t pid, uint64_t birth);

/* Counts the forks that led to this process, from 1; once `count_forks` was called. It is right before
 * anything else runs in the child: what Python collects there early must not be given back in the
 * parent's name. */
extern _Atomic uint32_t tn_forks;
void tn_process_count_forks(void);

/* A mark: on a place of a memory file, held by a descriptor of its own, which a forked child has as well.
 * So the system knows whether anybody lives who holds it, however long that one is held up, by a
 * debugger or the hooks of others, and however it ends. -1: it could not be made. */
int tn_mark_make(int file, uint64_t place);
void tn_mark_drop(int mark);
typedef enum { TN_MARK_FREE, TN_MARK_HELD, TN_MARK_UNKNOWN } tn_mark_state;
tn_mark_state tn_mark_look(int file, uint64_t place);

#ifdef TINES_DEBUG
void tn_process_die(void); /* at once, as by an enemy's hand */
#endif

#endif
