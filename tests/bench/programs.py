"""Small programs in C, compiled on the spot: what is measured must not wait for its own start."""

import os
import shutil
import subprocess

STAMP = r"""
#include <fcntl.h>
#include <stdint.h>
#include <time.h>
#include <unistd.h>
int main(int count, char **words) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    int64_t nanoseconds = now.tv_sec * 1000000000LL + now.tv_nsec;
    if (count > 1 && words[1][0] == '/') {
        int pipe = open(words[1], O_WRONLY);
        if (pipe < 0 || write(pipe, &nanoseconds, sizeof nanoseconds) != sizeof nanoseconds) return 1;
        close(pipe);
    }
    while (count > 2 || (count > 1 && words[1][0] != '/')) pause();
    return 0;
}
"""
"""Writes the CLOCK_MONOTONIC of its first instruction into the named pipe of its first argument. With a second
argument, or one that is no path, it then waits until it is killed; with none it ends at once."""

LOAD = r"""
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

static int64_t now(void) {
    struct timespec moment;
    clock_gettime(CLOCK_MONOTONIC, &moment);
    return moment.tv_sec * 1000000000LL + moment.tv_nsec;
}

struct peer { int socket; int64_t began; size_t have, want; char head[1 << 16]; };

static void ask(struct peer *peer, char **paths, int count, int port) {
    char request[512];
    int length = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n",
                          paths[rand() % count], port);
    peer->have = peer->want = 0;
    peer->began = now();
    if (write(peer->socket, request, length) != length) exit(2);
}

static int hear(struct peer *peer) {
    ssize_t got = read(peer->socket, peer->head + peer->have, sizeof peer->head - peer->have - 1);
    if (got <= 0) exit(3);
    peer->have += got;
    peer->head[peer->have] = 0;
    if (!peer->want) {
        char *end = strstr(peer->head, "\r\n\r\n"), *length = strcasestr(peer->head, "content-length:");
        if (!end) return 0;
        if (strncmp(peer->head + 9, "200", 3) || !length) { fputs(peer->head, stderr); exit(4); }
        peer->want = end + 4 - peer->head + atol(length + 15);
    }
    return peer->have >= peer->want;
}

int main(int count, char **words) {
    int port = atoi(words[1]), connections = atoi(words[2]);
    int64_t ends = now() + (int64_t)(atof(words[3]) * 1e9);
    struct peer *peers = calloc(connections, sizeof *peers);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int poll = epoll_create1(0), one = 1;
    for (int i = 0; i < connections; i++) {
        peers[i].socket = socket(AF_INET, SOCK_STREAM, 0);
        setsockopt(peers[i].socket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (connect(peers[i].socket, (struct sockaddr *)&address, sizeof address)) return 1;
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &peers[i]};
        epoll_ctl(poll, EPOLL_CTL_ADD, peers[i].socket, &event);
        ask(&peers[i], words + 4, count - 4, port);
    }
    while (now() < ends) {
        struct epoll_event events[64];
        int ready = epoll_wait(poll, events, 64, 100);
        for (int i = 0; i < ready; i++) {
            struct peer *peer = events[i].data.ptr;
            if (!hear(peer)) continue;
            printf("%lld\n", (long long)(now() - peer->began) / 1000);
            ask(peer, words + 4, count - 4, port);
        }
    }
    return 0;
}
"""
"""`load PORT CONNECTIONS SECONDS PATH…` asks one of the paths at a time on each connection, again as soon as it is
answered, and prints the microseconds that each answer took. Anything but 200 ends it."""


class NoCompiler(Exception):
    """There is no C compiler here, so what is measured with one can't be."""


def build(folder: str, name: str, source: str) -> str:
    """Compile a program and return its path. Raises `NoCompiler`."""
    program = os.path.join(folder, name)
    if os.path.exists(program):
        return program
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise NoCompiler("There is no C compiler (cc). Install one to measure this")
    command = [compiler, "-D_GNU_SOURCE", "-O2", "-x", "c", "-o", program, "-"]
    for options in (["-static"], []):
        done = subprocess.run([*command, *options], input=source.encode(), capture_output=True, timeout=60, check=False)
        if done.returncode == 0:
            return program
    raise NoCompiler(done.stderr.decode())
