/*
 * As stream.c, but the client stores to a page at a fixed address after connect: plants in page tables put it there. Where nothing
 * is mapped, the store ends in SIGSEGV, which is caught.
 */
#define TOUCH 1
#include "stream.c"
