// Leaks connections that libraries make: `clients WAY PORT`. The line to name is the one that asked the library for it.
#include <curl/curl.h>
#include <hiredis/hiredis.h>
#include <libpq-fe.h>
#include <openssl/bio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NAMED __attribute__((noinline, noclone))

static char address[64], port[16];

static size_t ignore(char *bytes, size_t size, size_t count, void *unused) {
    (void)bytes;
    (void)unused;
    return size * count;
}

static CURL *request(void) {
    CURL *curl = curl_easy_init();
    curl_easy_setopt(curl, CURLOPT_URL, address);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, ignore);
    curl_easy_setopt(curl, CURLOPT_TCP_KEEPALIVE, 1L);
    return curl;
}

// The handle is kept, and its connection with it.
NAMED int fetch_price(void) {
    CURL *curl = request();
    int failed = curl_easy_perform(curl); // opened here: fetch_price
    printf("fetched %d\n", failed);
    return failed + 1;
}

NAMED int fetch_all(void) {
    CURLM *multi = curl_multi_init();
    int running = 1;
    curl_multi_add_handle(multi, request());
    while (running) {
        curl_multi_perform(multi, &running); // opened here: fetch_all
        curl_multi_poll(multi, NULL, 0, 100, NULL);
    }
    return running + 1;
}

NAMED int fetch_connect_only(void) {
    CURL *curl = request();
    curl_easy_setopt(curl, CURLOPT_CONNECT_ONLY, 1L);
    int failed = curl_easy_perform(curl); // opened here: fetch_connect_only
    return failed + 1;
}

NAMED int dial_bio(void) {
    BIO *bio = BIO_new_connect(address + strlen("http://"));
    int done = BIO_do_connect(bio); // opened here: dial_bio
    return done + 1;
}

NAMED int dial_redis(void) {
    redisContext *redis = redisConnect("127.0.0.1", atoi(port)); // opened here: dial_redis
    return redis->err + 1;
}

NAMED int dial_database(void) {
    const char *keys[] = {"host", "port", "sslmode", "gssencmode", NULL};
    const char *values[] = {"127.0.0.1", port, "disable", "disable", NULL};
    PGconn *database = PQconnectStartParams(keys, values, 0); // opened here: dial_database
    return database != NULL;
}

int main(int count, char **arguments) {
    if (count < 3)
        return 2;
    const char *way = arguments[1];
    setvbuf(stdout, NULL, _IOLBF, 0);
    snprintf(port, sizeof port, "%s", arguments[2]);
    snprintf(address, sizeof address, "http://127.0.0.1:%s", port);
#define IS(name) (strcmp(way, name) == 0)
    if (IS("curl")) fetch_price();
    else if (IS("multi")) fetch_all();
    else if (IS("connect-only")) fetch_connect_only();
    else if (IS("bio")) dial_bio();
    else if (IS("redis")) dial_redis();
    else if (IS("database")) dial_database();
    else return 2;
    pause();
    return 0;
}
