/*
 * mock: an OpenAI-compatible upstream that is never the bottleneck. One thread, epoll.
 *
 *     mock PORT
 *
 * The request's path says what to stream; whatever stands before or behind is ignored:
 *
 *     /n/<events>/g/<gap, us>/k/<events per write>/w/<wire: o = openai chat, a = anthropic>
 *
 * A gap of 0 means: as fast as the reader takes it. With a gap, a stream's first event comes
 * after a random part of one gap, so that a thousand streams do not tick in step.
 *
 * The text of every event is " @@" and 16 decimal digits: CLOCK_MONOTONIC in ns when it was
 * written. Whoever reads it on this machine knows the event's latency.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_FD 65536
#define RING 4096         /* slots of the timer wheel */
#define TICK 250000ull    /* ns that one slot stands for */
#define DIGITS 16         /* of a time stamp */
#define MAX_REQUEST 65536
#define MAX_ROUNDS 64     /* writes to one eager reader before the others have a turn */

typedef unsigned long long u64;

enum state { IDLE, STREAMING, DEAD };

typedef struct conn {
    int fd;
    enum state state;         /* DEAD: closed, but still in the timer wheel, which frees it */
    int wants_write;
    int wire;                 /* index into wires */
    long events, sent;        /* to send; sent */
    long per_write;
    u64 gap, due;             /* ns */
    char in[MAX_REQUEST];
    size_t in_len;
    char *out;
    size_t out_pos, out_len, out_size;
    struct conn *next;        /* in the same slot of the timer wheel */
} conn;

/* Everything that a wire sends, built once. */
static struct wire {
    char head[1024];          /* the HTTP head and the events before the first text */
    char event[640];
    char tail[2048];          /* the events after the last text, and the end of the body */
    size_t head_len, event_len, tail_len;
    size_t stamp;             /* where in `event` the time stamp's digits begin */
} wires[2];

static conn *conns[MAX_FD];
static conn *ring[RING];
static u64 tick;              /* the last slot that was served */
static long timers;           /* connections in the wheel */
static int poller;

static u64 now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ull + t.tv_nsec;
}

/* -- what is sent */

static const char *HEAD = "HTTP/1.1 200 OK\r\n"
                          "content-type: text/event-stream; charset=utf-8\r\n"
                          "cache-control: no-cache\r\n"
                          "transfer-encoding: chunked\r\n\r\n";

static const char *OPENAI = "data: {\"id\":\"chatcmpl-BfTzQ1l2mX0v8n4c7k9d3s5a6f\",\"object\":\"chat.completion.chunk\","
                            "\"created\":1750000000,\"model\":\"gpt-4.1-2025-04-14\",\"service_tier\":\"default\","
                            "\"system_fingerprint\":\"fp_799e4ca3f1\",\"choices\":[{\"index\":0,\"delta\":%s,"
                            "\"logprobs\":null,\"finish_reason\":%s}],\"usage\":null}\n\n";

static const char *MODELS = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 27\r\n\r\n"
                            "{\"object\":\"list\",\"data\":[]}";

/* Append `text` to `to` as one HTTP chunk; return the new length. */
static size_t add_chunk(char *to, size_t len, const char *text) {
    return len + sprintf(to + len, "%zx\r\n%s\r\n", strlen(text), text);
}

static size_t add_openai(char *to, size_t len, const char *delta, const char *finish) {
    char event[700];
    snprintf(event, sizeof event, OPENAI, delta, finish);
    return add_chunk(to, len, event);
}

static void build_openai(struct wire *w) {
    w->head_len = sprintf(w->head, "%s", HEAD);
    w->head_len = add_openai(w->head, w->head_len, "{\"role\":\"assistant\",\"content\":\"\"}", "null");
    w->event_len = add_openai(w->event, 0, "{\"content\":\" @@0000000000000000\"}", "null");
    w->tail_len = add_openai(w->tail, 0, "{}", "\"stop\"");
    w->tail_len = add_chunk(w->tail, w->tail_len, "data: [DONE]\n\n");
}

static void build_anthropic(struct wire *w) {
    w->head_len = sprintf(w->head, "%s", HEAD);
    w->head_len = add_chunk(w->head, w->head_len,
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\","
        "\"role\":\"assistant\",\"content\":[],\"model\":\"claude-sonnet-4\",\"stop_reason\":null,"
        "\"usage\":{\"input_tokens\":10,\"output_tokens\":1}}}\n\n");
    w->head_len = add_chunk(w->head, w->head_len,
        "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,"
        "\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n");
    w->event_len = add_chunk(w->event, 0,
        "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,"
        "\"delta\":{\"type\":\"text_delta\",\"text\":\" @@0000000000000000\"}}\n\n");
    w->tail_len = add_chunk(w->tail, 0,
        "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n");
    w->tail_len = add_chunk(w->tail, w->tail_len,
        "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},"
        "\"usage\":{\"output_tokens\":9}}\n\n");
    w->tail_len = add_chunk(w->tail, w->tail_len, "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n");
}

static void build_wires(void) {
    build_openai(&wires[0]);
    build_anthropic(&wires[1]);
    for (int i = 0; i < 2; i++) {
        wires[i].stamp = strstr(wires[i].event, "@@") - wires[i].event + 2;
        wires[i].tail_len += sprintf(wires[i].tail + wires[i].tail_len, "0\r\n\r\n");
    }
}

static void put(conn *c, const char *data, size_t len) {
    if (c->out_len + len > c->out_size) {
        c->out_size = (c->out_len + len) * 2;
        c->out = realloc(c->out, c->out_size);
    }
    memcpy(c->out + c->out_len, data, len);
    c->out_len += len;
}

static void put_event(conn *c) {
    struct wire *w = &wires[c->wire];
    u64 t = now();
    put(c, w->event, w->event_len);
    char *stamp = c->out + c->out_len - w->event_len + w->stamp;
    for (int i = DIGITS - 1; i >= 0; i--) {
        stamp[i] = '0' + t % 10;
        t /= 10;
    }
    c->sent++;
}

/* Put the next write's events, and the end after the last one. Return whether that was the end. */
static int put_events(conn *c) {
    for (long i = 0; i < c->per_write && c->sent < c->events; i++)
        put_event(c);
    if (c->sent < c->events)
        return 0;
    put(c, wires[c->wire].tail, wires[c->wire].tail_len);
    c->state = IDLE;
    return 1;
}

/* -- connections */

static void want_write(conn *c, int wanted) {
    if (c->wants_write == wanted)
        return;
    c->wants_write = wanted;
    struct epoll_event e = {.events = EPOLLIN | (wanted ? EPOLLOUT : 0), .data.fd = c->fd};
    epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &e);
}

static void release(conn *c) {
    free(c->out);
    free(c);
}

static void close_conn(conn *c) {
    int in_wheel = c->state == STREAMING && c->gap;
    conns[c->fd] = NULL;
    close(c->fd);
    c->fd = -1;
    if (in_wheel)
        c->state = DEAD;
    else
        release(c);
}

/* Write what is there. Return 1: all is written, 0: the reader is slow, -1: the reader is gone. */
static int flush_out(conn *c) {
    while (c->out_pos < c->out_len) {
        ssize_t n = write(c->fd, c->out + c->out_pos, c->out_len - c->out_pos);
        if (n < 0) {
            if (errno != EAGAIN)
                return -1;
            want_write(c, 1);
            return 0;
        }
        c->out_pos += n;
    }
    c->out_pos = c->out_len = 0;
    return 1;
}

/* Send as fast as the reader takes it. */
static void pump(conn *c) {
    for (int round = 0;; round++) {
        int flushed = flush_out(c);
        if (flushed < 0) {
            close_conn(c);
            return;
        }
        if (!flushed)
            return;
        if (c->state != STREAMING) {
            want_write(c, 0);
            return;
        }
        if (round >= MAX_ROUNDS) {
            want_write(c, 1);
            return;
        }
        put_events(c);
    }
}

/* -- the timer wheel: a connection waits in the slot of its due time, maybe for several turns */

static void arm(conn *c) {
    u64 slot = c->due / TICK % RING;
    c->next = ring[slot];
    ring[slot] = c;
    timers++;
}

static void fire(conn *c) {
    if (c->state == DEAD) {
        release(c);
        return;
    }
    int ended = put_events(c);
    if (flush_out(c) < 0) {
        c->state = IDLE; /* it is not in the wheel now */
        close_conn(c);
    } else if (!ended) {
        c->due += c->gap;
        arm(c);
    }
}

static void serve_timers(void) {
    u64 until = now() / TICK;
    while (tick < until) {
        tick++;
        conn *c = ring[tick % RING];
        ring[tick % RING] = NULL;
        while (c) {
            conn *next = c->next;
            timers--;
            if (c->state != DEAD && c->due / TICK > tick)
                arm(c); /* not this turn */
            else
                fire(c);
            c = next;
        }
    }
}

/* -- requests */

static long parameter(const char *path, const char *name, long otherwise) {
    const char *found = strstr(path, name);
    return found ? atol(found + strlen(name)) : otherwise;
}

static void begin_stream(conn *c, const char *path) {
    c->events = parameter(path, "/n/", 100);
    c->gap = parameter(path, "/g/", 0) * 1000ull;
    c->per_write = parameter(path, "/k/", 1);
    c->wire = strstr(path, "/w/a") ? 1 : 0;
    c->sent = 0;
    c->state = STREAMING;
    put(c, wires[c->wire].head, wires[c->wire].head_len);
    if (!c->gap) {
        pump(c);
        return;
    }
    if (flush_out(c) < 0) {
        c->state = IDLE;
        close_conn(c);
        return;
    }
    c->due = now() + (u64)(c->gap * (rand() / (RAND_MAX + 1.0))) + TICK;
    arm(c);
}

/* Answer the request in `in`, if it is complete. */
static void serve_request(conn *c) {
    char *head_end = memmem(c->in, c->in_len, "\r\n\r\n", 4);
    if (!head_end)
        return;
    char *length = strcasestr(c->in, "\r\ncontent-length:");
    size_t body = length && length < head_end ? atol(length + 17) : 0;
    size_t total = head_end + 4 - c->in + body;
    if (c->in_len < total)
        return;
    char line[256];
    size_t n = strcspn(c->in, "\r");
    snprintf(line, sizeof line, "%.*s", (int)n, c->in);
    memmove(c->in, c->in + total, c->in_len - total);
    c->in_len -= total;
    c->in[c->in_len] = 0;
    if (strstr(line, "/n/")) {
        begin_stream(c, line);
    } else {
        put(c, MODELS, strlen(MODELS));
        flush_out(c);
    }
}

static void accept_all(int listener) {
    int fd, one = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        if (fd >= MAX_FD) {
            fprintf(stderr, "mock: more than %d connections\n", MAX_FD);
            exit(1);
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        conn *c = calloc(1, sizeof *c);
        c->fd = fd;
        c->out_size = 4096;
        c->out = malloc(c->out_size);
        conns[fd] = c;
        struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
        epoll_ctl(poller, EPOLL_CTL_ADD, fd, &e);
    }
    if (errno == EMFILE || errno == ENFILE) {
        perror("mock: accept");
        exit(1);
    }
}

static void on_ready(int fd, unsigned ready) {
    conn *c = conns[fd];
    if (!c)
        return;
    if (ready & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
        ssize_t n = read(fd, c->in + c->in_len, sizeof c->in - c->in_len - 1);
        if (n == 0 || (n < 0 && errno != EAGAIN)) {
            close_conn(c);
            return;
        }
        if (n > 0) {
            c->in_len += n;
            c->in[c->in_len] = 0;
            if (c->state == IDLE) {
                serve_request(c);
                return;
            }
        }
    }
    if (!(ready & EPOLLOUT))
        return;
    if (!c->gap) {
        pump(c);
        return;
    }
    int flushed = flush_out(c);
    if (flushed < 0)
        close_conn(c);
    else if (flushed)
        want_write(c, 0);
}

static int listen_on(int port) {
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (void *)&a, sizeof a) || listen(fd, 4096)) {
        perror("mock: bind");
        exit(1);
    }
    return fd;
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: mock PORT\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    build_wires();
    int listener = listen_on(atoi(argv[1]));
    poller = epoll_create1(0);
    struct epoll_event e = {.events = EPOLLIN, .data.fd = listener}, ready[512];
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &e);
    tick = now() / TICK;
    for (;;) {
        struct timespec until_tick = {0, 0};
        if (timers) {
            u64 t = now(), next = (tick + 1) * TICK;
            until_tick.tv_nsec = next > t ? next - t : 0;
        }
        int n = epoll_pwait2(poller, ready, 512, timers ? &until_tick : NULL, NULL);
        for (int i = 0; i < n; i++) {
            if (ready[i].data.fd == listener)
                accept_all(listener);
            else
                on_ready(ready[i].data.fd, ready[i].events);
        }
        if (timers)
            serve_timers();
        else
            tick = now() / TICK;
    }
}
