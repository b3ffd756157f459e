/*
 * pace: load at a fixed rate, and its latencies. Each line and each visit has a time at which it is
 * due, whatever the server does, and its latency counts from then. A server that stalls therefore
 * delays all that was due meanwhile (no coordinated omission).
 *
 *   pace lines  PORT CLIENTS RATE SECONDS SIZE GREETED FILE ACK   clients take turns to send a line
 *   pace visits PORT RATE SECONDS                                 connect, read the greeting, close
 *
 * PORT, CLIENTS and GREETED are as in load.c. RATE is that of all clients together. With FILE, each
 * line is looked for in the record file as it grows, and its latency is until it is found; with "-"
 * it is not. ACK is the length of the answer to each line, 0 if there is none. A line is printed
 * when all have connected; lines are due from when there is a byte or the end on standard input.
 * SIGINT ends that early: what was sent is still waited for. A line of KEY=VALUE pairs is printed at
 * the end. It has latencies in microseconds: rec_ until the line is on file, ack_ until it is
 * acknowledged, visit_ until the greeting is there. late_ is how late lines and visits began, which
 * is part of their latencies: the delay of this program, and of connections that accept no more.
 */
#include "clients.h"
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/inotify.h>
#include <sys/timerfd.h>

enum {
	MARK = 14,      /* "seq=000000000 " */
	LINES = 999999999,
	STALLED = 5,    /* seconds without progress after which the rest is lost */
	PAUSED = 60,    /* after SIGINT */
	TIMER = -1,     /* the tag of its events */
};

static volatile sig_atomic_t ended; /* by SIGINT: no more are due */
static double start; /* when the first is due */
static double rate;
static long total;

static double due(long n) { return start + n / rate; }

/* How many are due by now. */
static long all_due(void)
{
	double n = (now() - start) * rate;
	return n < 0 ? 0 : n >= total ? total : (long)n + 1;
}

/* Latencies in seconds, by number; 0: not there. */
struct latencies {
	double *of;
	atomic_long count;
};

static void note(struct latencies *l, long n)
{
	if (n < 0 || n >= total || l->of[n])
		return;
	double took = now() - due(n);
	l->of[n] = took > 1e-9 ? took : 1e-9;
	l->count++;
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

/* Prints the percentiles of those that are there: the least latency that so many do not exceed. */
static void print_latencies(const char *name, struct latencies *l)
{
	long n = 0;
	for (long i = 0; i < total; i++)
		if (l->of[i])
			l->of[n++] = l->of[i];
	qsort(l->of, n, sizeof *l->of, by_size);
	printf(" %s_n=%ld", name, n);
	static const struct {
		const char *name;
		long per_mille;
	} at[] = {{"p50", 500}, {"p99", 990}, {"p999", 999}, {"max", 1000}};
	for (size_t i = 0; n && i < sizeof at / sizeof *at; i++)
		printf(" %s_%s=%.1f", name, at[i].name, l->of[(n * at[i].per_mille + 999) / 1000 - 1] * 1e6);
}

static struct latencies recorded, acked, visited, late;

/* Has the timer expire when number n is due. */
static void set_timer(int timer, long n)
{
	double at = due(n);
	struct itimerspec t = {.it_value = {.tv_sec = at, .tv_nsec = (at - (long)at) * 1e9}};
	timerfd_settime(timer, TFD_TIMER_ABSTIME, &t, NULL);
}

static void stop_timer(int timer)
{
	timerfd_settime(timer, 0, &(struct itimerspec){0}, NULL);
}

static int new_timer(void)
{
	int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (timer < 0)
		die("timerfd_create");
	watch(EPOLL_CTL_ADD, timer, EPOLLIN, TIMER);
	return timer;
}

/* Begins soon, with as many as are due within seconds. */
static int set_pace(double per_second, double seconds)
{
	rate = per_second;
	total = per_second * seconds;
	if (total < 1 || total > LINES)
		die("RATE or SECONDS");
	struct latencies *all[] = {&recorded, &acked, &visited, &late};
	for (int i = 0; i < 4; i++)
		all[i]->of = allocate(total, sizeof(double));
	start = now() + .05;
	int timer = new_timer();
	set_timer(timer, 0);
	return timer;
}

/* Looks for the lines in what was appended to a file, whose descriptor is *file. */
static void *find_lines(void *file)
{
	static char buffer[1 << 18];
	size_t kept = 0;
	int fd = *(int *)file, changes = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	char path[32];
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	if (changes < 0 || inotify_add_watch(changes, path, IN_MODIFY) < 0)
		die("inotify");
	for (;;) {
		ssize_t n = read(fd, buffer + kept, sizeof buffer - kept);
		if (n < 0)
			die("read the record file");
		if (n == 0) {
			struct pollfd p = {.fd = changes, .events = POLLIN};
			poll(&p, 1, 100);
			if (read(changes, scratch, sizeof scratch) < 0) {
				/* It was only time to look again. */
			}
			continue;
		}
		char *at = buffer, *end = buffer + kept + n, *mark;
		while ((mark = memmem(at, end - at, "seq=", 4)) && end - mark >= MARK) {
			note(&recorded, strtol(mark + 4, NULL, 10));
			at = mark + MARK;
		}
		kept = mark ? end - mark : end - at < 3 ? end - at : 3;
		memmove(buffer, end - kept, kept);
	}
	return NULL;
}

/* What one client sends: the lines with the numbers tag, tag + count, tag + 2 * count … */
struct sender {
	long due, sent;  /* lines */
	long part;       /* bytes of the next line that were sent */
	long answered;   /* bytes of acknowledgements */
	int full;        /* the connection accepts no more now */
};

struct crowd {
	struct client *clients;
	struct sender *senders;
	long count, size, ack, bad;
	char *line;
};

static void lose(struct crowd *c, long i)
{
	if (c->clients[i].state == GONE)
		return;
	c->bad++;
	close(c->clients[i].fd);
	c->clients[i].state = GONE;
}

/* Sends what is due, as far as the connection accepts it. */
static void send_due(struct crowd *c, long i)
{
	struct sender *s = &c->senders[i];
	while (c->clients[i].state == CONNECTED && s->sent < s->due) {
		long n = i + s->sent * c->count;
		if (!s->part && !late.of[n])
			note(&late, n);
		snprintf(c->line, MARK + 1, "seq=%09ld ", n);
		c->line[MARK] = c->size > MARK + 1 ? 'x' : '\n';
		ssize_t sent = write(c->clients[i].fd, c->line + s->part, c->size - s->part);
		if (sent < 0 && errno != EAGAIN)
			return lose(c, i);
		if (sent > 0 && (s->part += sent) == c->size) {
			s->part = 0;
			s->sent++;
			continue;
		}
		if (!s->full)
			watch(EPOLL_CTL_MOD, c->clients[i].fd, EPOLLIN | EPOLLOUT, i);
		s->full = 1;
		return;
	}
	if (s->full && c->clients[i].state == CONNECTED)
		watch(EPOLL_CTL_MOD, c->clients[i].fd, EPOLLIN, i);
	s->full = 0;
}

static void hear_acks(struct crowd *c, long i)
{
	struct sender *s = &c->senders[i];
	ssize_t got = read(c->clients[i].fd, scratch, sizeof scratch);
	if (got < 0 && errno == EAGAIN)
		return;
	if (got <= 0)
		return lose(c, i);
	if (!c->ack)
		return;
	long before = s->answered / c->ack, after = (s->answered += got) / c->ack;
	for (; before < after; before++)
		note(&acked, i + before * c->count);
}

/* Handles what happens within a moment. */
static void step(struct crowd *c)
{
	int n = epoll_wait(epoll, events, EVENTS, 50);
	for (int i = 0; i < n; i++) {
		long tag = events[i].data.u64;
		if (tag == TIMER || c->clients[tag].state != CONNECTED)
			continue;
		if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
			hear_acks(c, tag);
		if (events[i].events & EPOLLOUT)
			send_due(c, tag);
	}
}

static long progress(struct crowd *c)
{
	long all = late.count + recorded.count + acked.count;
	for (long i = 0; i < c->count; i++)
		all += c->senders[i].sent;
	return all;
}

static void lines(long count, double per_second, double seconds, long size, int greeted, const char *path, long ack)
{
	struct crowd c = {.count = count, .size = size < MARK + 1 ? MARK + 1 : size, .ack = ack, .line = allocate(1, size + MARK + 2)};
	int file = -1;
	pthread_t finder;

	memset(c.line, 'x', c.size);
	c.line[c.size - 1] = '\n';
	if (strcmp(path, "-") && (file = open(path, O_RDONLY | O_CREAT | O_CLOEXEC, 0640)) < 0)
		die(path);
	c.clients = gather(count, greeted, &c.bad);
	c.senders = allocate(count, sizeof *c.senders);
	for (long i = 0; i < count; i++)
		if (c.clients[i].state == CONNECTED)
			watch(EPOLL_CTL_ADD, c.clients[i].fd, EPOLLIN, i);
	printf("gathered conns=%ld\n", count);
	fflush(stdout); /* the parent process measures the server now */
	if (read(STDIN_FILENO, scratch, 1) < 0 && !ended)
		die("standard input");
	int timer = set_pace(per_second, seconds);
	if (file >= 0 && pthread_create(&finder, NULL, find_lines, &file))
		die("pthread_create");

	long begun = 0;
	for (; begun < total && !ended; step(&c)) {
		for (long until = all_due(); begun < until; begun++) {
			c.senders[begun % count].due++;
			send_due(&c, begun % count);
		}
		if (begun < total)
			set_timer(timer, begun);
	}
	if (ended)
		total = begun;
	stop_timer(timer);
	double since = now();
	for (long last = progress(&c); (file >= 0 && recorded.count < total) || (ack && acked.count < total) || late.count < total; step(&c)) {
		if (last != progress(&c)) {
			last = progress(&c);
			since = now();
		}
		if (now() - since > (ended ? PAUSED : STALLED))
			break;
	}
	printf("lines conns=%ld msgs=%ld bad=%ld secs=%.3f", count, total, c.bad, now() - start);
	if (file >= 0)
		print_latencies("rec", &recorded);
	if (ack)
		print_latencies("ack", &acked);
	print_latencies("late", &late);
	printf("\n");
}

static void visits(double per_second, double seconds)
{
	long begun = 0, done = 0, bad = 0, most = MAX_FILES;
	long *visit = allocate(MAX_FILES, sizeof *visit); /* by descriptor */
	int timer = set_pace(per_second, seconds);
	struct rlimit files;
	if (!getrlimit(RLIMIT_NOFILE, &files) && (long)files.rlim_cur < most)
		most = files.rlim_cur;

	while (done < total) {
		for (long until = all_due(); begun < until && begun - done < most - 64; begun++) {
			int fd = dial();
			visit[fd] = begun;
			note(&late, begun);
			watch(EPOLL_CTL_ADD, fd, EPOLLIN, fd);
		}
		if (begun < total && begun - done < most - 64)
			set_timer(timer, begun);
		int n = next_events();
		if (!n && begun < total)
			stuck("visiting", done);
		if (!n) { /* the server's backlog was full: it knows nothing of these */
			bad += total - done;
			break;
		}
		for (int i = 0; i < n; i++) {
			int fd = events[i].data.u64;
			if (fd == TIMER) {
				stop_timer(timer);
				continue;
			}
			ssize_t got = read(fd, scratch, sizeof scratch);
			if (got < 0 && errno == EAGAIN)
				continue;
			if (got > 0)
				note(&visited, visit[fd]);
			else
				bad++;
			close(fd);
			done++;
		}
	}
	printf("visits total=%ld bad=%ld secs=%.3f", total, bad, now() - start);
	print_latencies("visit", &visited);
	print_latencies("late", &late);
	printf("\n");
}

static void end(int number)
{
	ended = number;
}

int main(int argc, char **argv)
{
	signal(SIGINT, end);
	begin(argc > 2 ? argv[2] : "0");
	if (argc == 10 && !strcmp(argv[1], "lines"))
		lines(atol(argv[3]), atof(argv[4]), atof(argv[5]), atol(argv[6]), atoi(argv[7]), argv[8], atol(argv[9]));
	else if (argc == 5 && !strcmp(argv[1], "visits"))
		visits(atof(argv[3]), atof(argv[4]));
	else {
		fprintf(stderr, "usage: pace lines|visits PORT ...: see pace.c\n");
		return 64;
	}
	return 0;
}
