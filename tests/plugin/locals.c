/* A library with a large thread-local variable. */
static __thread char room[5000];

void touch(void) { room[100]++; }
