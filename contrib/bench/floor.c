/*
 * floor PORT FILE [ACK]: the least that greeting and recording can cost. One thread, epoll(7),
 * loopback only. It greets each client, cuts what the client sends into lines, and appends
 * "from ADDRESS: LINE" to FILE with one write(2) for each wake-up. With ACK it then writes FILE to
 * disk (fdatasync), and sends ACK for each line. Nearly all of its cost is that of the kernel, so
 * figures of real servers are given as ratios to it. It serves until it is killed.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define GREETING "Welcome connect!\n"

enum {
	BACKLOG = 4096,
	EVENTS = 1024,       /* taken from one wake-up */
	ACCEPTS = 64,        /* before connected clients are read */
	READ_SIZE = 65536,
	LONGEST_LINE = 1024, /* a longer one is recorded in pieces */
	OUT_SIZE = 1 << 20,
};

struct client {
	int fd;
	int prefix_length;
	char prefix[32];          /* "from ADDRESS: " */
	int partial_length;
	char partial[LONGEST_LINE]; /* a line without its end */
	int owed;                   /* acknowledgements */
};

static char out[OUT_SIZE];
static size_t out_length;
static int out_fd;
static const char *ack; /* NULL: none */
static struct client *heard[EVENTS]; /* in this wake-up, and still there */
static int heard_count;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void flush_records(void)
{
	for (size_t done = 0; done < out_length;) {
		ssize_t n = write(out_fd, out + done, out_length - done);
		if (n <= 0)
			die("write");
		done += n;
	}
	out_length = 0;
}

static void append(const void *bytes, size_t n)
{
	memcpy(out + out_length, bytes, n);
	out_length += n;
}

static void record(const struct client *c, const char *line, size_t n)
{
	if (out_length + c->prefix_length + n + 1 > sizeof out)
		flush_records();
	append(c->prefix, c->prefix_length);
	append(line, n);
	append("\n", 1);
}

/* Acknowledges what was written. */
static void acknowledge(void)
{
	if (fdatasync(out_fd))
		die("fdatasync");
	for (int i = 0; i < heard_count; i++)
		for (; heard[i]->owed; heard[i]->owed--)
			if (write(heard[i]->fd, ack, strlen(ack)) < 0) {
				/* It has gone, or reads none of them. */
			}
	heard_count = 0;
}

/* Accepts and greets waiting clients, at most ACCEPTS. */
static void let_in(int epoll, int listener)
{
	for (int i = 0; i < ACCEPTS; i++) {
		struct sockaddr_in peer;
		socklen_t length = sizeof peer;
		int fd = accept4(listener, (struct sockaddr *)&peer, &length, SOCK_NONBLOCK);
		if (fd < 0)
			return;
		struct client *c = calloc(1, sizeof *c);
		if (!c)
			die("calloc");
		c->fd = fd;
		c->prefix_length = sprintf(c->prefix, "from %s:%d: ", inet_ntoa(peer.sin_addr), ntohs(peer.sin_port));
		if (write(fd, GREETING, sizeof GREETING - 1) < 0) {
			/* It has closed already; its end will be read. */
		}
		struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
		epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
	}
}

static void let_go(struct client *c)
{
	if (c->partial_length)
		record(c, c->partial, c->partial_length);
	close(c->fd);
	free(c);
}

/* Reads once from a client, and records the complete lines. */
static void hear(struct client *c)
{
	static char buffer[LONGEST_LINE + READ_SIZE];

	memcpy(buffer, c->partial, c->partial_length);
	ssize_t n = read(c->fd, buffer + c->partial_length, READ_SIZE);
	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		let_go(c);
		return;
	}
	char *line = buffer, *end = buffer + c->partial_length + n, *newline;
	while ((newline = memchr(line, '\n', end - line))) {
		record(c, line, newline - line);
		line = newline + 1;
		c->owed++;
	}
	if (ack)
		heard[heard_count++] = c;
	for (; end - line > LONGEST_LINE; line += LONGEST_LINE)
		record(c, line, LONGEST_LINE);
	c->partial_length = end - line;
	memcpy(c->partial, line, c->partial_length);
}

static int listen_on(int port)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, BACKLOG))
		die("listen");
	return fd;
}

int main(int argc, char **argv)
{
	if (argc != 3 && argc != 4) {
		fprintf(stderr, "usage: floor PORT FILE [ACK]\n");
		return 64;
	}
	ack = argv[3];
	signal(SIGPIPE, SIG_IGN);
	struct rlimit files;
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);

	out_fd = open(argv[2], O_WRONLY | O_CREAT | O_APPEND, 0644);
	if (out_fd < 0)
		die(argv[2]);
	int listener = listen_on(atoi(argv[1])), epoll = epoll_create1(0);
	struct epoll_event events[EVENTS], event = {.events = EPOLLIN, .data.ptr = NULL}; /* NULL: the listener */
	epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
	for (;;) {
		int n = epoll_wait(epoll, events, EVENTS, -1);
		for (int i = 0; i < n; i++) {
			if (events[i].data.ptr)
				hear(events[i].data.ptr);
			else
				let_in(epoll, listener);
		}
		if (out_length)
			flush_records();
		if (heard_count)
			acknowledge();
	}
}
