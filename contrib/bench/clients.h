/*
 * clients.h: what load.c and pace.c share: clients of a server on the loopback network, with one
 * thread and epoll(7).
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
	/* Connections of one source address. Once half of its ports are in use, connect(2) searches long. */
	PER_SOURCE = 5000,
	SOURCES = 200,
	MAX_FILES = 1 << 20,
};

static int epoll;
static struct sockaddr_in server;
static long listeners = 1; /* at as many addresses in a row, from 127.0.0.1 */
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
	/* Differs, so that the connections of the last run, in TIME_WAIT, are seldom of the same address. */
	static int first = -1;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
	if (fd < 0)
		die("socket");
	setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	if (first < 0)
		first = getpid() * 37 % SOURCES;
	struct sockaddr_in source = {.sin_family = AF_INET};
	source.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + (first + ++dialed / PER_SOURCE) % SOURCES);
	if (bind(fd, (struct sockaddr *)&source, sizeof source))
		die("bind");
	struct sockaddr_in to = server;
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK + dialed % listeners);
	if (connect(fd, (struct sockaddr *)&to, sizeof to) && errno != EINPROGRESS)
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

/* Begins with all descriptors that are allowed. where is PORT or PORT/LISTENERS. */
static void begin(const char *where)
{
	struct rlimit files;
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	server = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(atoi(where))};
	server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (strchr(where, '/'))
		listeners = atol(strchr(where, '/') + 1);
	if (listeners < 1 || (epoll = epoll_create1(0)) < 0)
		die("begin");
}
