// Leaks one connection a way: `ledger WAY PORT`. The comments "opened here" and "read here" name the function that the
// tool has to name, and mark its line.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

// As in software of more than one file: a function that has a name keeps it.
#define NAMED __attribute__((noinline, noclone))

static struct sockaddr_in peer;
static volatile int kept = -1;

static int new_socket(void) { return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0); }

NAMED int open_ledger(void) {
    int fd = new_socket();
    int failed = connect(fd, (struct sockaddr *)&peer, sizeof peer); // opened here: open_ledger
    kept = fd;
    return failed ? -1 : fd;
}

NAMED int retry(int times) {
    int fd = -1;
    for (int i = 0; i < times && fd < 0; i++)
        fd = open_ledger();
    return fd + 1;
}

static void *in_thread(void *unused) {
    (void)unused;
    retry(3);
    pause();
    return NULL;
}

// A large array of which most is never written to, as event loops have: its pages are not there.
NAMED int open_below_array(void) {
    volatile char events[11 * 1024];
    events[0] = 1;
    return retry(3) + events[0];
}

NAMED void *above_array(void *unused) {
    (void)unused;
    open_below_array();
    pause();
    return NULL;
}

static void by_array(void) {
    pthread_t thread;
    pthread_create(&thread, NULL, above_array, NULL);
    pthread_join(thread, NULL);
}

static void by_pthread(void) {
    pthread_t thread;
    pthread_create(&thread, NULL, in_thread, NULL);
    pthread_join(thread, NULL);
}

NAMED void connect_soon(void) {
    int fd = new_socket();
    fcntl(fd, F_SETFL, O_NONBLOCK);
    int failed = connect(fd, (struct sockaddr *)&peer, sizeof peer); // opened here: connect_soon
    struct pollfd wanted = {.fd = fd, .events = POLLOUT};
    if (failed && errno == EINPROGRESS)
        poll(&wanted, 1, 10000);
    kept = fd;
}

NAMED int listen_here(void) {
    int fd = new_socket(), yes = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(fd, (struct sockaddr *)&peer, sizeof peer) || listen(fd, 16))
        exit(1);
    return fd;
}

NAMED void serve(void) {
    int listener = listen_here();
    for (;;) {
        int fd = accept(listener, NULL, NULL); // opened here: serve
        kept = fd;
    }
}

NAMED void event_loop(void) {
    int listener = listen_here(), epoll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        epoll_wait(epoll, &event, 1, -1);
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK); // opened here: event_loop
        kept = fd;
    }
}

NAMED void *take_next(void *listener) {
    for (;;) {
        int fd = accept(*(int *)listener, NULL, NULL); // opened here: take_next
        kept = fd;
    }
    return NULL;
}

static void by_pool(void) {
    int listener = listen_here();
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, take_next, &listener);
    pause();
}

static void by_prefork(void) {
    int listener = listen_here();
    if (fork() == 0)
        take_next(&listener);
    close(listener);
    wait(NULL);
}

NAMED void on_alarm(int signal) {
    (void)signal;
    retry(3);
}

static void by_signal(void) {
    struct sigaction action = {.sa_handler = on_alarm};
    sigaction(SIGALRM, &action, NULL);
    raise(SIGALRM);
}

// More than 16 KiB between the call and main.
NAMED int descend(int levels) {
    volatile char local[512];
    memset((void *)local, levels, sizeof local);
    int below = levels ? descend(levels - 1) : retry(3);
    return below + local[levels % 512];
}

NAMED int compare(const void *left, const void *right) {
    if (kept < 0) {
        int fd = new_socket();
        int failed = connect(fd, (struct sockaddr *)&peer, sizeof peer); // opened here: compare
        kept = failed ? -1 : fd;
    }
    return *(const int *)left - *(const int *)right;
}

static void by_callback(void) {
    int numbers[] = {3, 1, 2};
    qsort(numbers, 3, sizeof *numbers, compare);
}

// The compiler keeps a frame pointer here and nowhere else.
NAMED int open_with_buffer(int size) {
    volatile char buffer[size];
    buffer[size - 1] = 1;
    int fd = new_socket();
    int failed = connect(fd, (struct sockaddr *)&peer, sizeof peer); // opened here: open_with_buffer
    kept = fd;
    return failed + buffer[size - 1];
}

// The call becomes a jump: no address of this function is on the stack.
NAMED int open_by_jump(int fd) { return connect(fd, (struct sockaddr *)&peer, sizeof peer); } // opened here: open_by_jump

NAMED int call_jumper(void) {
    int fd = new_socket();
    int failed = open_by_jump(fd);
    kept = fd;
    return failed;
}

// Another jump before that one.
NAMED int jump_to_jumper(int fd) { return open_by_jump(fd); }

NAMED int call_jumpers(void) {
    int fd = new_socket();
    int failed = jump_to_jumper(fd);
    kept = fd;
    return failed;
}

NAMED int open_raw(void) {
    int fd = new_socket();
    long failed = syscall(SYS_connect, fd, &peer, sizeof peer); // opened here: open_raw
    kept = fd;
    return (int)failed;
}

#ifdef __GLIBC__
static ucontext_t outside, inside;

static void coroutine(void) {
    retry(3);
    pause();
}

static void by_coroutine(void) {
    static char stack[64 * 1024];
    getcontext(&inside);
    inside.uc_stack.ss_sp = stack;
    inside.uc_stack.ss_size = sizeof stack;
    inside.uc_link = &outside;
    makecontext(&inside, coroutine, 0);
    swapcontext(&outside, &inside);
}
#else // musl has no such functions.
static void by_coroutine(void) { exit(2); }
#endif

static void by_plugin(const char *program) {
    char path[4096];
    snprintf(path, sizeof path, "%s-plugin.so", program);
    void *plugin = dlopen(path, RTLD_NOW);
    if (!plugin)
        exit(1);
    int (*plugin_open)(struct sockaddr_in *) = (int (*)(struct sockaddr_in *))dlsym(plugin, "plugin_open");
    kept = plugin_open(&peer);
}

NAMED void read_all(int fd) {
    char some[256];
    ssize_t count;
    do
        count = read(fd, some, sizeof some); // read here: read_all
    while (count > 0);
}

NAMED void receive_all(int fd) {
    char some[256];
    ssize_t count;
    do
        count = recv(fd, some, sizeof some, 0); // read here: receive_all
    while (count > 0);
}

// Has ended before anybody asks; its child keeps the connection, and ends by itself.
static void briefly(void) {
    retry(3);
    if (fork() > 0) {
        usleep(200 * 1000);
        _exit(0);
    }
    alarm(60);
}

int main(int count, char **arguments) {
    if (count < 3)
        return 2;
    const char *way = arguments[1];
    peer.sin_family = AF_INET;
    peer.sin_port = htons((uint16_t)atoi(arguments[2]));
    peer.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
#define IS(name) (strcmp(way, name) == 0)
    if (IS("retry")) retry(3);
    else if (IS("pthread")) by_pthread();
    else if (IS("nonblocking")) connect_soon();
    else if (IS("serve")) serve();
    else if (IS("epoll")) event_loop();
    else if (IS("pool")) by_pool();
    else if (IS("prefork")) by_prefork();
    else if (IS("signal")) by_signal();
    else if (IS("deep")) descend(60);
    else if (IS("callback")) by_callback();
    else if (IS("buffer")) open_with_buffer(count * 1000);
    else if (IS("jump")) call_jumper();
    else if (IS("jumps")) call_jumpers();
    else if (IS("array")) by_array();
    else if (IS("raw")) open_raw();
    else if (IS("coroutine")) by_coroutine();
    else if (IS("plugin")) by_plugin(arguments[0]);
    else if (IS("brief")) briefly();
    else if (IS("read")) { retry(3); read_all(kept); }
    else if (IS("recv")) { retry(3); receive_all(kept); }
    else return 2;
    pause();
    return 0;
}
