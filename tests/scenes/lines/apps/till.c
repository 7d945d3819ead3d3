// A program that is linked with a library of its own: `till WAY PORT`.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <unistd.h>

int plugin_open(struct sockaddr_in *peer);

int main(int count, char **arguments) {
    if (count < 3)
        return 2;
    struct sockaddr_in peer = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(arguments[2]))};
    peer.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    plugin_open(&peer);
    pause();
    return 0;
}
