/*
 * load: clients for a server on 127.0.0.1 that greets or records. It costs as little as possible, so that the server is
 * measured: one thread and epoll(7). It is for figures that are compared with those of floor; people use tcpmux-bench.
 *
 *   load greet   PORT TOTAL AT_ONCE [LINE]                   connect, send LINE, read the greeting, close
 *   load hold    PORT CLIENTS SECONDS                        open all, read each greeting, hold, close
 *   load record  PORT CLIENTS LINES SIZE PER_WRITE GREETED   each sends LINES lines of SIZE bytes, PER_WRITE a write
 *   load trickle PORT CLIENTS ROUNDS SIZE GREETED            each sends one line a round, round after round
 *
 * PORT may be PORT/LISTENERS: clients then take turns at as many addresses in a row, from 127.0.0.1.
 * GREETED is 1 if clients wait for a greeting. All clients connect before the measured time begins,
 * and it ends when the server has closed every connection. One line of KEY=VALUE pairs is printed.
 * Exit status 1: nothing happened for too long, and the line may be missing.
 */
#include "clients.h"

static double *born; /* by descriptor */

static void visit(const char *line)
{
	int fd = dial();
	if (fd >= MAX_FILES)
		die("too many descriptors");
	born[fd] = now();
	if (*line && dprintf(fd, "%s\r\n", line) < 0)
		die("a line is not sent");
	watch(EPOLL_CTL_ADD, fd, EPOLLIN, fd);
}

static void greet(long total, long at_once, const char *line)
{
	long started = 0, done = 0, bad = 0;
	double worst = 0, start = now();

	born = allocate(MAX_FILES, sizeof *born);
	for (; started < at_once && started < total; started++)
		visit(line);
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
				visit(line);
				started++;
			}
		}
	}
	double took = now() - start;
	printf("greet total=%ld bad=%ld secs=%.3f rate=%.0f worst_ms=%.1f\n", done, bad, took, done / took, worst * 1e3);
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
	begin(argc > 2 ? argv[2] : "0");

	if ((argc == 5 || argc == 6) && !strcmp(argv[1], "greet"))
		greet(a[1], a[2], argc == 6 ? argv[5] : "");
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
