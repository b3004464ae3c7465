/* The janitor: a thread that has the pages of free blocks given back once they have been idle for a
 * moment. It lives only while there are any, and touches nothing but the segment. */
#ifndef TINES_JANITOR_H
#define TINES_JANITOR_H

#include "segment.h"

/* Have it look after this segment, if it has anything to do. */
void tn_janitor_call(tn_segment *segment);
/* Before a fork, and before the segment goes. */
void tn_janitor_stop(void);
void tn_janitor_forked(void); /* in the child */

#endif
