// A plugin of `ledger.c`, and a shared library of `till.c`: it makes the connection for the program.
#include <netinet/in.h>
#include <sys/socket.h>

int plugin_open(struct sockaddr_in *peer) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    int failed = connect(fd, (struct sockaddr *)peer, sizeof *peer); // opened here: plugin_open
    return failed ? -1 : fd;
}
