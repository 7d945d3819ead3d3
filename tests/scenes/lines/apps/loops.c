// Leaks connections that event loops make: `loops WAY PORT`. Where the loop itself accepts or connects, the line to name
// is the one that runs it.
#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <gio/gio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#define NAMED __attribute__((noinline, noclone))

static struct sockaddr_in peer;

static void on_uv_connection(uv_stream_t *listener, int status) {
    (void)status;
    uv_tcp_t *client = calloc(1, sizeof *client);
    uv_tcp_init(listener->loop, client);
    uv_accept(listener, (uv_stream_t *)client);
}

NAMED int serve_uv(void) {
    static uv_tcp_t listener;
    uv_tcp_init(uv_default_loop(), &listener);
    uv_tcp_bind(&listener, (struct sockaddr *)&peer, 0);
    uv_listen((uv_stream_t *)&listener, 16, on_uv_connection);
    int result = uv_run(uv_default_loop(), UV_RUN_DEFAULT); // opened here: serve_uv
    return result + 1;
}

static void on_uv_connected(uv_connect_t *request, int status) {
    (void)request;
    (void)status;
    pause();
}

NAMED int connect_uv(void) {
    static uv_tcp_t client;
    static uv_connect_t request;
    uv_tcp_init(uv_default_loop(), &client);
    int result = uv_tcp_connect(&request, &client, (struct sockaddr *)&peer, on_uv_connected); // opened here: connect_uv
    return result + uv_run(uv_default_loop(), UV_RUN_DEFAULT);
}

static void on_event_connection(struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *a, int n, void *u) {
    (void)l, (void)fd, (void)a, (void)n, (void)u;
}

NAMED int serve_event(void) {
    struct event_base *base = event_base_new();
    evconnlistener_new_bind(base, on_event_connection, NULL, LEV_OPT_REUSEABLE, 16, (struct sockaddr *)&peer, sizeof peer);
    int result = event_base_dispatch(base); // opened here: serve_event
    return result + 1;
}

NAMED int connect_event(void) {
    struct event_base *base = event_base_new();
    struct bufferevent *event = bufferevent_socket_new(base, -1, 0);
    int result = bufferevent_socket_connect(event, (struct sockaddr *)&peer, sizeof peer); // opened here: connect_event
    return result + 1;
}

NAMED int connect_glib(const char *port) {
    GSocketClient *client = g_socket_client_new();
    GSocketConnection *made = g_socket_client_connect_to_host(client, "127.0.0.1", atoi(port), NULL, NULL); // opened here: connect_glib
    return made != NULL;
}

int main(int count, char **arguments) {
    if (count < 3)
        return 2;
    peer.sin_family = AF_INET;
    peer.sin_port = htons((unsigned short)atoi(arguments[2]));
    peer.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const char *way = arguments[1];
#define IS(name) (strcmp(way, name) == 0)
    if (IS("uv-accept")) serve_uv();
    else if (IS("uv")) connect_uv();
    else if (IS("event-accept")) serve_event();
    else if (IS("event")) connect_event();
    else if (IS("glib")) connect_glib(arguments[2]);
    else return 2;
    pause();
    return 0;
}
