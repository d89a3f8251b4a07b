/*
 * loadc: a reader of many streams that is never the bottleneck. One thread, epoll.
 *
 *     loadc PORT PATH CONNECTIONS ROUNDS [options]
 *       -b BODY      POST this body instead of a GET
 *       -h "H: v"    a further request header (repeatable)
 *       -m MARK      what begins every event's text (default " @@"); if it ends with "@@", 16 digits
 *                    follow: CLOCK_MONOTONIC in ns when the event was made, for its latency
 *       -e TEXT      a body that does not have TEXT in its last 500 bytes is an error
 *       -w SECONDS   warm-up: latencies before that are not in p50 ... max (but in all50, all99)
 *       -i MS        a line of JSON with the events so far, this often
 *       -d SECONDS   stop after this long, whatever is still open (default 120)
 *
 * Each connection makes ROUNDS requests one after the other, each on a new socket. Bodies are
 * taken out of their HTTP chunks before they are searched, so an event that was cut in two by a
 * chunk's end is counted. A body that is not chunked, or that ends before its last chunk, is an
 * error; so is an answer other than 200. The result is one line of JSON; times are microseconds.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define FINE 1000000    /* buckets of a histogram that are 1 us wide; the others are 1 ms wide */
#define BUCKETS (FINE + 600000)
#define DIGITS 16
#define KEEP 512        /* bytes of a body kept from one read to the next */

typedef unsigned long long u64;

enum body { SIZE, DATA, AFTER_DATA, TRAILER, OVER };

typedef struct {
    int fd, round;
    int in_body;          /* whether the head has been read */
    enum body body;       /* where in the chunked body we are */
    u64 chunk;            /* bytes of this chunk still to come, or its size so far */
    long events;
    u64 asked;            /* when, ns */
    int tail_len;
    char tail[KEEP];      /* the end of what was read and not yet counted */
} conn;

typedef struct {
    unsigned *counts;
    u64 total, max;
} histogram;

static conn *conns;
static int poller, port, rounds, live;
static char request[70000];
static size_t request_len;
static const char *mark = " @@", *last_words = NULL;
static size_t mark_len = 3, stamp_len = DIGITS;
static u64 warm; /* when the warm-up is over, ns */
static histogram latency, warm_latency, first;
static u64 bytes, events, done, errors, refused, opened;

static u64 now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ull + t.tv_nsec;
}

/* -- histograms */

static void record(histogram *h, u64 ns) {
    u64 us = ns / 1000, bucket = us < FINE ? us : FINE + (us - FINE) / 1000;
    h->counts[bucket < BUCKETS ? bucket : BUCKETS - 1]++;
    h->total++;
    if (us > h->max)
        h->max = us;
}

static int percentile(const histogram *h, double share) {
    u64 rank = h->total * share, seen = 0;
    for (int i = 0; h->total && i < BUCKETS; i++) {
        seen += h->counts[i];
        if (seen > rank)
            return i < FINE ? i : FINE + (i - FINE) * 1000;
    }
    return 0;
}

/* -- connections */

static void ask(int i) {
    conn *c = conns + i;
    int one = 1;
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (c->fd < 0 || (connect(c->fd, (void *)&a, sizeof a) && errno != EINPROGRESS)) {
        if (!errors++)
            perror("loadc: connect");
        close(c->fd);
        c->fd = -1;
        live--;
        return;
    }
    c->in_body = c->tail_len = 0;
    c->body = SIZE;
    c->chunk = 0;
    c->events = 0;
    c->asked = now();
    int sent = write(c->fd, request, request_len) == (ssize_t)request_len;
    struct epoll_event e = {.events = EPOLLIN | (sent ? 0 : EPOLLOUT), .data.u32 = i};
    epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &e);
}

static void finish(int i, const char *error) {
    conn *c = conns + i;
    close(c->fd);
    c->fd = -1;
    if (!error)
        done++;
    else if (!errors++)
        fprintf(stderr, "loadc: connection %d, after %ld events: %s\n", i, c->events, error);
    if (++c->round < rounds)
        ask(i);
    else
        live--;
}

/* Say what a refusal says; its body may come a little later than its head. */
static void show_refusal(int fd, const char *data, size_t len) {
    char more[2000];
    usleep(100000);
    ssize_t n = read(fd, more, sizeof more);
    fprintf(stderr, "%.*s%.*s\n", (int)len, data, n > 0 ? (int)n : 0, more);
}

/* Read the head at the beginning of `data`; return its length, 0 if it is not complete, -1 if it is bad. */
static int read_head(conn *c, char *data, size_t len) {
    char *end = memmem(data, len, "\r\n\r\n", 4);
    if (!end)
        return 0;
    int size = end + 4 - data;
    if (memcmp(data + 9, "200", 3)) {
        if (!refused++)
            show_refusal(c->fd, data, len);
        return -1;
    }
    *end = 0;
    int chunked = strcasestr(data, "transfer-encoding: chunked") != NULL;
    *end = '\r';
    if (!chunked)
        return -1;
    c->in_body = 1;
    opened++;
    return size;
}

/* Copy the body in `in` to `out` (which may lie before it in the same memory) without the marks
 * of its chunks; return how much that was. */
static size_t unchunk(conn *c, char *out, const char *in, size_t len) {
    const char *end = in + len;
    char *begin = out;
    while (in < end && c->body != OVER) {
        if (c->body == DATA) {
            size_t n = (size_t)(end - in) < c->chunk ? (size_t)(end - in) : c->chunk;
            memmove(out, in, n);
            out += n;
            in += n;
            c->chunk -= n;
            if (!c->chunk)
                c->body = AFTER_DATA;
            continue;
        }
        char ch = *in++;
        if (c->body == SIZE && isxdigit((unsigned char)ch))
            c->chunk = c->chunk * 16 + (ch <= '9' ? ch - '0' : (ch | 32) - 'a' + 10);
        else if (ch == '\n')
            c->body = c->body == TRAILER ? OVER : c->body == AFTER_DATA ? SIZE : c->chunk ? DATA : TRAILER;
    }
    return out - begin;
}

/* Count the events in `data`; return where the last one ends. */
static char *count(conn *c, char *data, char *end, u64 t) {
    char *found;
    while ((found = memmem(data, end - data, mark, mark_len)) && end - found >= (long)(mark_len + stamp_len)) {
        if (!c->events++)
            record(&first, t - c->asked);
        events++;
        data = found + mark_len + stamp_len;
        if (!stamp_len)
            continue;
        u64 made = 0;
        for (char *digit = found + mark_len; digit < data; digit++)
            made = made * 10 + (*digit - '0');
        record(&latency, t > made ? t - made : 0);
        if (t >= warm)
            record(&warm_latency, t > made ? t - made : 0);
    }
    return data;
}

static void on_readable(int i) {
    static char buffer[KEEP + (1 << 20)];
    conn *c = conns + i;
    memcpy(buffer, c->tail, c->tail_len);
    char *in = buffer + c->tail_len;
    ssize_t n = read(c->fd, in, 1 << 20);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0) {
        finish(i, "the body was cut off");
        return;
    }
    bytes += n;
    char *out = in, *end = in + n;
    if (!c->in_body) {
        int head = read_head(c, buffer, end - buffer);
        if (head < 0 || (!head && end - buffer > KEEP)) {
            finish(i, "not a stream");
            return;
        }
        in = head ? buffer + head : end;
        out = head ? buffer : end;
    }
    if (c->in_body)
        end = out + unchunk(c, out, in, end - in);
    char *rest = c->in_body ? count(c, buffer, end, now()) : buffer;
    if (c->body == OVER) {
        int said = !last_words || memmem(rest, end - rest, last_words, strlen(last_words));
        if (!said && !errors)
            fprintf(stderr, "%.*s\n", (int)(end - rest > KEEP ? KEEP : end - rest), rest);
        finish(i, said ? NULL : "the body ends without the last words");
        return;
    }
    c->tail_len = end - rest > KEEP ? KEEP : end - rest;
    memcpy(c->tail, end - c->tail_len, c->tail_len);
}

static void on_ready(int i, unsigned ready) {
    conn *c = conns + i;
    if (c->fd < 0)
        return;
    if (ready & EPOLLOUT) {
        if (write(c->fd, request, request_len) != (ssize_t)request_len) {
            finish(i, "the request could not be sent");
            return;
        }
        struct epoll_event e = {.events = EPOLLIN, .data.u32 = i};
        epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &e);
    }
    if (ready & (EPOLLIN | EPOLLHUP | EPOLLERR))
        on_readable(i);
}

/* At the time limit: say how far those have come that should have ended. */
static void show_stuck(int count) {
    for (int i = 0; i < count; i++) {
        conn *c = conns + i;
        if (c->fd < 0)
            continue;
        fprintf(stderr, "loadc: %d connections are still open; number %d has had %ld events, then: %.*s\n", live, i,
                c->events, c->tail_len, c->tail);
        return;
    }
}

/* -- the command */

static double cpu_seconds(void) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return u.ru_utime.tv_sec + u.ru_stime.tv_sec + (u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void print_result(double seconds) {
    printf("{\"events\":%llu,\"seconds\":%.4f,\"rate\":%.0f,\"mb_s\":%.1f,\"done\":%llu,\"errors\":%llu,\"refused\":%llu,"
           "\"opened\":%llu,",
           events, seconds, events / seconds, bytes / seconds / 1e6, done, errors, refused, opened);
    printf("\"p50\":%d,\"p90\":%d,\"p99\":%d,\"max\":%llu,\"all50\":%d,\"all99\":%d,\"first50\":%d,\"first99\":%d,"
           "\"cpu\":%.3f}\n",
           percentile(&warm_latency, .5), percentile(&warm_latency, .9), percentile(&warm_latency, .99),
           warm_latency.max, percentile(&latency, .5), percentile(&latency, .99), percentile(&first, .5),
           percentile(&first, .99), cpu_seconds());
}

static void build_request(const char *path, const char *headers, const char *body) {
    int n = snprintf(request, sizeof request, "%s %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAccept: text/event-stream\r\n%s",
                     body ? "POST" : "GET", path, port, headers);
    if (body)
        n += snprintf(request + n, sizeof request - n, "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                      strlen(body), body);
    else
        n += snprintf(request + n, sizeof request - n, "\r\n");
    request_len = n;
}

int main(int argc, char **argv) {
    if (argc < 5) {
        fprintf(stderr, "usage: loadc PORT PATH CONNECTIONS ROUNDS [-b BODY] [-h HEADER] [-m MARK] [-e TEXT] "
                        "[-w SECONDS] [-i MS] [-d SECONDS]\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    port = atoi(argv[1]);
    live = atoi(argv[3]);
    rounds = atoi(argv[4]);
    char *body = NULL, headers[4096] = "";
    double limit = 120, warm_up = 0;
    u64 interval = 0;
    int option;
    optind = 5;
    while ((option = getopt(argc, argv, "b:h:m:e:w:i:d:")) > 0) {
        switch (option) {
        case 'b': body = optarg; break;
        case 'h': strcat(strcat(headers, optarg), "\r\n"); break;
        case 'm': mark = optarg; break;
        case 'e': last_words = optarg; break;
        case 'w': warm_up = atof(optarg); break;
        case 'i': interval = atof(optarg) * 1e6; break;
        case 'd': limit = atof(optarg); break;
        default: return 2;
        }
    }
    mark_len = strlen(mark);
    stamp_len = mark_len >= 2 && !strcmp(mark + mark_len - 2, "@@") ? DIGITS : 0;
    build_request(argv[2], headers, body);
    latency.counts = calloc(BUCKETS, sizeof(unsigned));
    warm_latency.counts = calloc(BUCKETS, sizeof(unsigned));
    first.counts = calloc(BUCKETS, sizeof(unsigned));
    conns = calloc(live, sizeof *conns);
    poller = epoll_create1(0);
    u64 began = now(), until = began + limit * 1e9, tell = interval ? began + interval : ~0ull;
    warm = began + warm_up * 1e9;
    int all = live;
    for (int i = 0; i < all; i++)
        ask(i);
    struct epoll_event ready[512];
    for (u64 t = now(); live > 0 && t < until; t = now()) {
        if (t >= tell) {
            printf("{\"at\":%.4f,\"events\":%llu}\n", (t - began) / 1e9, events);
            fflush(stdout);
            tell += interval;
        }
        int n = epoll_wait(poller, ready, 512, interval ? 5 : 100);
        for (int j = 0; j < n; j++)
            on_ready(ready[j].data.u32, ready[j].events);
    }
    if (last_words)
        show_stuck(all);
    print_result((now() - began) / 1e9);
    return 0;
}
