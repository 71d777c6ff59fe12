/* A minimal HTTP server with one thread, which answers every request with the content of a file. The
 * benchmark compares agents with this server, because it has only the cost of the sockets.
 *
 * Usage: epoll ANSWER_FILE. Listens on a free port of 127.0.0.1 and prints the number of the port. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ANSWER_MAX = 64 * 1024, HEAD_MAX = 4096, EVENTS_MAX = 256, SOCKETS_MAX = 4096 };

static char answer[ANSWER_MAX];
static size_t answer_len;

/* For each socket, the bytes of the request that has not arrived completely, and their number. */
static char heads[SOCKETS_MAX][HEAD_MAX];
static size_t head_len[SOCKETS_MAX];

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void load(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) fail(path);
    answer_len = fread(answer, 1, ANSWER_MAX, file);
    fclose(file);
}

static int listening(void) {
    int sock = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t len = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (sock < 0 || bind(sock, (struct sockaddr *)&address, len) || listen(sock, 1024))
        fail("listen");
    if (getsockname(sock, (struct sockaddr *)&address, &len)) fail("getsockname");
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return sock;
}

static void watch(int poll, int sock) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = sock};
    if (epoll_ctl(poll, EPOLL_CTL_ADD, sock, &event)) fail("epoll_ctl");
}

static void admit(int poll, int listener) {
    int sock, on = 1;
    while ((sock = accept4(listener, 0, 0, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        if (sock >= SOCKETS_MAX) {
            close(sock);
            continue;
        }
        setsockopt(sock, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        head_len[sock] = 0;
        watch(poll, sock);
    }
}

static void serve(int sock) {
    ssize_t got = read(sock, heads[sock] + head_len[sock], HEAD_MAX - head_len[sock]);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
        close(sock);
        return;
    }
    head_len[sock] += (size_t)got;
    if (!memmem(heads[sock], head_len[sock], "\r\n\r\n", 4)) {
        if (head_len[sock] == HEAD_MAX) close(sock);
        return;
    }
    head_len[sock] = 0;
    if (write(sock, answer, answer_len) != (ssize_t)answer_len) close(sock);
}

int main(int count, char **arguments) {
    struct epoll_event events[EVENTS_MAX];
    if (count != 2) return 2;
    load(arguments[1]);
    int poll = epoll_create1(EPOLL_CLOEXEC), listener = listening();
    watch(poll, listener);
    for (;;) {
        int ready = epoll_wait(poll, events, EVENTS_MAX, -1);
        for (int at = 0; at < ready; at++) {
            if (events[at].data.fd == listener)
                admit(poll, listener);
            else
                serve(events[at].data.fd);
        }
    }
}
