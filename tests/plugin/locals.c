/* A library with a large variable for each thread. */
static __thread char room[5000];

void touch(void) { room[100]++; }
