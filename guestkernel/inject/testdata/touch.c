/*
 * As stream.c, but the client first connects to nobody, where plants in page tables act, and stores to the page they put at a fixed
 * address. Where nothing is mapped, the store ends in SIGSEGV, which is caught.
 */
#define TOUCH 1
#include "stream.c"
