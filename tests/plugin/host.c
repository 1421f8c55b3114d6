/* A C program that loads the plugin, and stalls its runtime while libraries are loaded and closed.
 *
 * usage: host PLUGIN LIBRARY OTHER-LIBRARY */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { STALLS = 80, SECONDS_WITHOUT_A_STALL = 10, PIECES = 64 };

static char **paths;
static void *library;
static atomic_int stalls, unwanted;

static void *function(void *of, const char *name)
{
    void *found = of ? dlsym(of, name) : NULL;
    if (!found) {
        puts(dlerror());
        exit(2);
    }
    return found;
}

static long milliseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* The thread has a variable in a library that is closed. Its memory is freed at the next access to any
 * thread-local variable through the loader. */
static void stall(void)
{
    int count = atomic_fetch_add(&stalls, 1);
    if (count % 4 == 0) {
        usleep(25000);
        return;
    }
    library = dlopen(paths[2], RTLD_NOW);
    ((void (*)(void))function(library, "touch"))();
    static void *kept;
    if (!kept)
        kept = dlopen(paths[3], RTLD_NOW);
    atomic_store(&unwanted, 1);
    for (long start = milliseconds(); milliseconds() < start + 25;) {
        void *pieces[PIECES];
        for (int i = 0; i < PIECES; i++)
            pieces[i] = malloc(1100 + i * 64);
        for (int i = 0; i < PIECES; i++)
            free(pieces[i]);
    }
}

static void *unload(void *nothing)
{
    for (;;) {
        if (atomic_exchange(&unwanted, 0)) {
            usleep(1500);
            dlclose(library);
        }
        usleep(200);
    }
    return nothing;
}

static void *run(void *plugin)
{
    ((void (*)(void (*)(void)))function(plugin, "plugin_run"))(stall);
    return NULL;
}

int main(int count, char **arguments)
{
    if (count != 4)
        return 2;
    paths = arguments;
    void *plugin = dlopen(paths[1], RTLD_NOW | RTLD_LOCAL);
    void (*stop)(void) = (void (*)(void))function(plugin, "plugin_stop");
    unsigned (*stacks)(void) = (unsigned (*)(void))function(plugin, "plugin_stacks");
    unsigned (*refusals)(void) = (unsigned (*)(void))function(plugin, "plugin_refusals");
    pthread_t runner, unloader;
    pthread_create(&unloader, NULL, unload, NULL);
    pthread_create(&runner, NULL, run, plugin);
    for (int last = 0, idle = 0; last < STALLS;) {
        sleep(1);
        int now = atomic_load(&stalls);
        idle = now == last ? idle + 1 : 0;
        last = now;
        if (idle == SECONDS_WITHOUT_A_STALL) {
            printf("hangs after %d stalls\n", now);
            return 3;
        }
    }
    stop();
    pthread_join(runner, NULL);
    struct sigaction action;
    sigaction(SIGURG, NULL, &action);
    printf("%u reports with a stack, %u that refuse one; SIGURG is handled: %s\n", stacks(),
           refusals(), action.sa_handler == SIG_DFL ? "no" : "yes");
    return !(stacks() > 0 && refusals() > 0 && action.sa_handler == SIG_DFL);
}
