package stream

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"tcpmux/daemon/delivery"
	"tcpmux/daemon/record"
)

// check makes sure that the stream can hold every record once, and finds out how to publish to it.
// A stream that exists is not changed.
func (c *Conn) check(ctx context.Context) error {
	info, err := c.streamInfo(ctx)
	if missing, ok := errors.AsType[*missingError](err); ok {
		if info, err = c.create(ctx, missing); err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	c.config = info.Config
	c.clustered = info.Cluster != nil && info.Cluster.Name != ""
	c.stream = delivery.Stream{Name: c.opt.Forward.Stream, Created: info.Created}
	if err := c.suits(&info.Config); err != nil {
		return err
	}
	c.info.Mode = Chained
	if info.Config.AllowAtomicPublish {
		c.info.Mode = Atomic
	}
	c.info.Warnings = append(c.info.Warnings, c.doubts(&info.Config)...)
	return nil
}

// create creates the stream, if that is configured.
func (c *Conn) create(ctx context.Context, missing *missingError) (info jetstream.StreamInfo, err error) {
	f := &c.opt.Forward
	if !f.Create {
		return info, refused("stream %q does not exist: create it (nats stream add %s --subjects '%s' --retention limits "+
			"--storage file --discard new), or set create = true under [forward]", f.Stream, f.Stream, everybody(*f))
	}
	window := 100 * time.Millisecond // the least: no id is used twice, and each costs memory
	if f.MaxAge > 0 {
		window = min(window, f.MaxAge)
	}
	cfg := jetstream.StreamConfig{
		Name: f.Stream, Subjects: []string{everybody(*f)}, Retention: jetstream.LimitsPolicy, Storage: jetstream.FileStorage,
		Discard: jetstream.DiscardNew, MaxBytes: f.MaxBytes, MaxAge: f.MaxAge, Replicas: f.Replicas, Duplicates: window,
		MaxConsumers: -1, MaxMsgs: -1, MaxMsgSize: -1, MaxMsgsPerSubject: -1,
		AllowAtomicPublish: knowsAtomic(c.info.ServerVersion),
	}
	err = c.request(ctx, "STREAM.CREATE."+f.Stream, cfg, &info)
	if e, ok := errors.AsType[*jetstream.APIError](err); ok && e.ErrorCode == jetstream.JSErrCodeStreamNameInUse {
		return c.streamInfo(ctx) // another machine was faster
	}
	if err != nil {
		return info, fmt.Errorf("create stream %q: %w", f.Stream, err)
	}
	return info, nil
}

// knowsAtomic reports whether a server of a version has atomic batches.
func knowsAtomic(version string) bool { return isAtLeast(version, 2, 12) }

// isAtLeast reports whether a version of a server is one or later.
func isAtLeast(version string, major, minor int) bool {
	first, rest, _ := strings.Cut(version, ".")
	second, _, _ := strings.Cut(rest, ".")
	a, errMajor := strconv.Atoi(first)
	b, errMinor := strconv.Atoi(second)
	return errMajor == nil && errMinor == nil && (a > major || a == major && b >= minor)
}

// suits returns why a stream cannot hold each record once, and know where the delivery stands.
func (c *Conn) suits(s *jetstream.StreamConfig) error {
	why := func(format string, args ...any) error {
		return refused("stream %q "+format+": change that, or choose another stream by stream under [forward]",
			append([]any{c.opt.Forward.Stream}, args...)...)
	}
	switch {
	case s.Mirror != nil:
		return why("is a mirror, to which nobody can publish")
	case s.Sealed:
		return why("is sealed")
	case s.NoAck:
		return why("acknowledges nothing (no_ack)")
	case s.Retention != jetstream.LimitsPolicy:
		return why("has %s retention: the last message must stay when it was read, as it tells where the delivery stands; want limits",
			s.Retention)
	case s.MaxMsgsPerSubject > 0:
		return why("has max_msgs_per_subject %d: it removes records when others come", s.MaxMsgsPerSubject)
	case s.SubjectTransform != nil:
		return why("changes subjects (subject_transform)")
	case s.SubjectDeleteMarkerTTL > 0:
		return why("stores messages of its own in place of old ones (subject_delete_marker_ttl)")
	case s.AllowMsgCounter:
		return why("stores counters only (allow_msg_counter)")
	}
	for _, kind := range []record.Kind{record.KindMessage, record.KindOpen, record.KindClose} {
		want := fill(c.opt.Forward.Subject, token(c.opt.Host), "*", wordOf(kind))
		if !coveredByOne(want, s.Subjects) {
			return why("has subjects %.300q, and %q is not part of them", s.Subjects, want)
		}
	}
	return nil
}

// doubts returns what an administrator should know of a stream.
func (c *Conn) doubts(s *jetstream.StreamConfig) (all []string) {
	name := c.opt.Forward.Stream
	if s.Discard != jetstream.DiscardNew {
		all = append(all, fmt.Sprintf("stream %q discards old messages when it is full, which may be records that nobody has read: "+
			"\"nats stream edit %s --discard new\" holds new ones back", name, name))
	}
	if s.Storage == jetstream.MemoryStorage {
		all = append(all, fmt.Sprintf("stream %q is in memory: it loses all records when its server ends", name))
	}
	if s.PersistMode != jetstream.DefaultPersistMode {
		all = append(all, fmt.Sprintf("stream %q acknowledges before it has written (persist_mode): "+
			"records may be lost when its server is killed", name))
	}
	if c.keepsRefused() {
		all = append(all, fmt.Sprintf("stream %q has no max_bytes: a server %s loses records when the account is full, so each record waits "+
			"for the one before it, which is slow: \"nats stream edit %s --max-bytes SIZE\"", name, c.info.ServerVersion, name))
	}
	if !s.AllowAtomicPublish && s.Replicas > 1 {
		all = append(all, fmt.Sprintf("stream %q has replicas and no atomic batches: each record waits for the one before it, which is slow; "+
			"servers 2.12 and later have batches (\"nats stream edit %s --allow-batch\")", name, name))
	} else if !s.AllowAtomicPublish && knowsAtomic(c.info.ServerVersion) {
		all = append(all, fmt.Sprintf("stream %q has no atomic batches: \"nats stream edit %s --allow-batch\" makes delivery cheaper "+
			"where machines share the stream", name, name))
	}
	return all
}

// coveredByOne reports whether one of the patterns has all subjects that filter has. A filter has
// no ">".
func coveredByOne(filter string, patterns []string) bool {
	for _, p := range patterns {
		if covers(strings.Split(p, "."), strings.Split(filter, ".")) {
			return true
		}
	}
	return false
}

func covers(pattern, filter []string) bool {
	for i, p := range pattern {
		if p == ">" {
			return len(filter) > i
		}
		if i >= len(filter) || p != "*" && p != filter[i] {
			return false
		}
	}
	return len(pattern) == len(filter)
}
