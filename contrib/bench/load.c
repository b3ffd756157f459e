/*
 * load: clients for a server on 127.0.0.1 that greets or records. It costs as little as possible, so that the server is
 * measured: one thread and epoll(7). It is for figures that are compared with those of floor; people use tcpmux-bench.
 *
 *   load greet   PORT TOTAL AT_ONCE                          connect, read the greeting, close
 *   load hold    PORT CLIENTS SECONDS                        open all, read each greeting, hold, close
 *   load record  PORT CLIENTS LINES SIZE PER_WRITE GREETED   each sends LINES lines of SIZE bytes, PER_WRITE a write
 *   load trickle PORT CLIENTS ROUNDS SIZE GREETED            each sends one line a round, round after round
 *
 * GREETED is 1 if clients wait for a greeting. All clients connect before the measured time begins, and it ends when the
 * server has closed every connection. One line of KEY=VALUE pairs is printed. Exit status 1: nothing happened for too
 * long, and the line may be missing.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
	EVENTS = 1024,
	PATIENCE = 20000,   /* milliseconds without anything happening */
	WAVE = 500,         /* connect at once when a crowd gathers */
	PER_SOURCE = 20000, /* connections of one source address, so that ephemeral ports never run out */
	SOURCES = 200,
	MAX_FILES = 1 << 20,
};

static int epoll;
static struct sockaddr_in server;
static struct epoll_event events[EVENTS];
static char scratch[1 << 16];

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void stuck(const char *where, long at)
{
	fprintf(stderr, "stuck %s at %ld\n", where, at);
	exit(1);
}

static void *allocate(size_t n, size_t size)
{
	void *p = calloc(n ? n : 1, size);
	if (!p)
		die("calloc");
	return p;
}

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

/* Begins a connection. connect(2) chooses the port: it knows the destination, and so finds more free ports. */
static int dial(void)
{
	static long dialed;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
	if (fd < 0)
		die("socket");
	setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	struct sockaddr_in source = {.sin_family = AF_INET};
	source.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + dialed++ / PER_SOURCE % SOURCES);
	if (bind(fd, (struct sockaddr *)&source, sizeof source))
		die("bind");
	if (connect(fd, (struct sockaddr *)&server, sizeof server) && errno != EINPROGRESS)
		die("connect");
	return fd;
}

static void watch(int operation, int fd, uint32_t what, uint64_t tag)
{
	struct epoll_event event = {.events = what, .data.u64 = tag};
	if (epoll_ctl(epoll, operation, fd, &event))
		die("epoll_ctl");
}

/* Waits for the next events; returns 0 if nothing happened for too long. */
static int next_events(void)
{
	int n = epoll_wait(epoll, events, EVENTS, PATIENCE);
	return n < 0 && errno == EINTR ? next_events() : n > 0 ? n : 0;
}

static double *born; /* by descriptor */

static void visit(void)
{
	int fd = dial();
	if (fd >= MAX_FILES)
		die("too many descriptors");
	born[fd] = now();
	watch(EPOLL_CTL_ADD, fd, EPOLLIN, fd);
}

static void greet(long total, long at_once)
{
	long started = 0, done = 0, bad = 0;
	double worst = 0, start = now();

	born = allocate(MAX_FILES, sizeof *born);
	for (; started < at_once && started < total; started++)
		visit();
	while (done < total) {
		int n = next_events();
		if (!n)
			stuck("visiting", done);
		for (int i = 0; i < n; i++) {
			int fd = events[i].data.u64;
			ssize_t got = read(fd, scratch, sizeof scratch);
			if (got < 0 && errno == EAGAIN)
				continue;
			double took = now() - born[fd];
			if (got <= 0)
				bad++;
			if (took > worst)
				worst = took;
			close(fd);
			done++;
			if (started < total) {
				visit();
				started++;
			}
		}
	}
	double took = now() - start;
	printf("greet total=%ld bad=%ld secs=%.3f rate=%.0f worst_ms=%.1f\n", done, bad, took, done / took, worst * 1e3);
}

struct client {
	int fd;
	enum { CONNECTING, CONNECTED, SENDING, SHUT, GONE } state;
	long left;   /* bytes to send */
	size_t next; /* where in the block the next byte is */
};

/* Connects all clients, a wave at a time, and reads their greetings. Counts those that were not greeted. */
static struct client *gather(long count, int greeted, long *bad)
{
	struct client *clients = allocate(count, sizeof *clients);
	for (long begun = 0, up = 0; up < count;) {
		for (; begun < count && begun - up < WAVE; begun++) {
			clients[begun].fd = dial();
			watch(EPOLL_CTL_ADD, clients[begun].fd, greeted ? EPOLLIN : EPOLLOUT, begun);
		}
		int n = next_events();
		if (!n)
			stuck("connecting", up);
		for (int i = 0; i < n; i++) {
			struct client *c = &clients[events[i].data.u64];
			ssize_t got = greeted ? read(c->fd, scratch, sizeof scratch) : 1;
			if (got < 0 && errno == EAGAIN)
				continue;
			if (got <= 0)
				++*bad;
			watch(EPOLL_CTL_DEL, c->fd, 0, 0);
			c->state = got > 0 ? CONNECTED : GONE;
			up++;
		}
	}
	return clients;
}

static void hold(long count, long seconds)
{
	long bad = 0;
	double start = now();
	struct client *clients = gather(count, 1, &bad);
	printf("hold n=%ld bad=%ld secs=%.3f\n", count - bad, bad, now() - start);
	fflush(stdout); /* the parent process measures the server now */
	sleep(seconds);
	for (long i = 0; i < count; i++)
		close(clients[i].fd);
}

/* What clients send, repeatedly. */
static char *block;
static size_t block_size;

static void make_block(long lines, long size)
{
	block_size = lines * size;
	block = allocate(lines, size);
	for (long i = 0; i < lines; i++) {
		memset(block + i * size, 'a' + i % 26, size);
		block[(i + 1) * size - 1] = '\n';
	}
}

/* Ends the client's side when everything is sent. */
static void shut(struct client *c, long tag, int operation)
{
	shutdown(c->fd, SHUT_WR);
	c->state = SHUT;
	watch(operation, c->fd, EPOLLIN, tag);
}

static void gone(struct client *c, long *open)
{
	close(c->fd);
	c->state = GONE;
	--*open;
}

/* Sends as much as fits. */
static void send_more(struct client *c, long tag, long *open, long *bad)
{
	size_t want = block_size - c->next;
	if ((long)want > c->left)
		want = c->left;
	ssize_t sent = write(c->fd, block + c->next, want);
	if (sent < 0 && errno != EAGAIN) {
		++*bad;
		gone(c, open);
		return;
	}
	if (sent > 0) {
		c->left -= sent;
		c->next = (c->next + sent) % block_size;
	}
	if (c->left == 0)
		shut(c, tag, EPOLL_CTL_MOD);
}

/* Reads what the server sends, and its end. */
static void hear(struct client *c, long *open, long *bad)
{
	ssize_t got = read(c->fd, scratch, sizeof scratch);
	if (got > 0 || (got < 0 && errno == EAGAIN))
		return;
	if (got < 0 || c->state != SHUT)
		++*bad;
	gone(c, open);
}

/* Sends one line for each client a round. A line that does not fit into the kernel's buffer at once counts as bad, and is lost. */
static void send_rounds(struct client *clients, long count, long rounds, long size, long *bad)
{
	for (long r = 0; r < rounds; r++)
		for (long i = 0; i < count; i++)
			if (clients[i].state == CONNECTED && write(clients[i].fd, block, size) != size)
				++*bad;
	for (long i = 0; i < count; i++)
		if (clients[i].state == CONNECTED)
			shut(&clients[i], i, EPOLL_CTL_ADD);
}

static void talk(const char *name, int rounds, long count, long lines, long size, long per_write, int greeted)
{
	long bad = 0, open = 0;
	if (per_write > lines)
		per_write = lines;
	make_block(per_write, size);
	struct client *clients = gather(count, greeted, &bad);

	double start = now();
	for (long i = 0; i < count; i++) {
		if (clients[i].state == GONE)
			continue;
		open++;
		clients[i].left = lines * size;
		if (!rounds) {
			clients[i].state = SENDING;
			watch(EPOLL_CTL_ADD, clients[i].fd, EPOLLIN | EPOLLOUT, i);
		}
	}
	if (rounds)
		send_rounds(clients, count, lines, size, &bad);
	while (open > 0) {
		int n = next_events();
		if (!n)
			stuck("with clients still open", open);
		for (int i = 0; i < n; i++) {
			long tag = events[i].data.u64;
			struct client *c = &clients[tag];
			if (c->state == SENDING && events[i].events & EPOLLOUT)
				send_more(c, tag, &open, &bad);
			if (c->state != GONE && events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
				hear(c, &open, &bad);
		}
	}
	double took = now() - start, all = (double)count * lines;
	printf("%s conns=%ld msgs=%.0f bytes=%.0f bad=%ld secs=%.3f msg_rate=%.0f MBps=%.1f\n", name, count, all, all * size, bad,
	       took, all / took, all * size / took / 1e6);
}

int main(int argc, char **argv)
{
	long a[8] = {0};
	for (int i = 2; i < argc && i < 10; i++)
		a[i - 2] = atol(argv[i]);
	struct rlimit files;
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	server = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(a[0])};
	server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	epoll = epoll_create1(0);

	if (argc == 5 && !strcmp(argv[1], "greet"))
		greet(a[1], a[2]);
	else if (argc == 5 && !strcmp(argv[1], "hold"))
		hold(a[1], a[2]);
	else if (argc == 8 && !strcmp(argv[1], "record"))
		talk("record", 0, a[1], a[2], a[3], a[4], a[5]);
	else if (argc == 7 && !strcmp(argv[1], "trickle"))
		talk("trickle", 1, a[1], a[2], a[3], 1, a[4]);
	else {
		fprintf(stderr, "usage: load greet|hold|record|trickle PORT ...: see load.c\n");
		return 64;
	}
	struct rusage used;
	getrusage(RUSAGE_SELF, &used);
	fprintf(stderr, "load_cpu=%.3f\n", used.ru_utime.tv_sec + used.ru_stime.tv_sec + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6);
	return 0;
}
