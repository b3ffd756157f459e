package forward

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tcpmux/cmd/tcpmux-forward/api"
	"tcpmux/cmd/tcpmux-forward/spool"
	"tcpmux/cmd/tcpmux-forward/stream"
	"tcpmux/config"
	"tcpmux/daemon/delivery"
	"tcpmux/internal/await"
)

// site is a machine with a record file, and a stream.
type site struct {
	cfg    config.Config
	writer *writer
	stream *fakeStream
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{cfg: forwarding(t), stream: newFakeStream(1, 0)}
	s.cfg.Record.File, s.cfg.Record.Format = filepath.Join(t.TempDir(), "records.log"), "json"
	s.writer = newWriter(t, s.cfg.Record.File)
	return s
}

func (s *site) write(t *testing.T, n int) {
	for range n {
		s.writer.write(t)
	}
}

// once delivers what there is.
func (s *site) once(t *testing.T) (api.Status, error) {
	t.Helper()
	f := newForwarder(t, s.cfg, s.stream, true)
	err := f.Run(t.Context())
	st := f.Status()
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return st, err
}

// delivered fails the test unless the stream has just these of the lines that were written.
func (s *site) delivered(t *testing.T, want []string) {
	t.Helper()
	if got := s.stream.lines(delivery.KeyOf(s.cfg.Record.File)); !slices.Equal(got, want) {
		t.Errorf("got %d records in the stream, want %d: %.300q", len(got), len(want), got)
	}
}

func TestOnceEndsWhenAllIsDelivered(t *testing.T) {
	s := newSite(t)
	s.write(t, 300)
	st, err := s.once(t)
	if err != nil {
		t.Fatal(err)
	}
	s.delivered(t, s.writer.lines[0])
	if st.Records != 300 || st.Lag != (api.Lag{}) || st.Server == "" || st.Error != "" {
		t.Errorf("got %+v, want 300 records and no lag", st)
	}
	if st, err = s.once(t); err != nil || st.Records != 0 {
		t.Errorf("the second time: got %d records, %v, want none", st.Records, err)
	}
}

func TestARollbackIsSaid(t *testing.T) {
	s := newSite(t)
	s.write(t, 300)
	if _, err := s.once(t); err != nil {
		t.Fatal(err)
	}
	s.stream.rollBack(100)
	st, err := s.once(t)
	if err != nil {
		t.Fatal(err)
	}
	s.delivered(t, s.writer.lines[0])
	if st.Rollbacks != 1 || !strings.Contains(st.LastError, "has lost records that it had acknowledged") {
		t.Errorf("got %d rollbacks and %q, want one that is said", st.Rollbacks, st.LastError)
	}
	if st, err = s.once(t); err != nil || st.Rollbacks != 0 {
		t.Errorf("afterwards: got %d rollbacks, %v, want none", st.Rollbacks, err)
	}
}

func TestAnotherStreamIsNotGuessed(t *testing.T) {
	s := newSite(t)
	s.write(t, 50)
	if _, err := s.once(t); err != nil {
		t.Fatal(err)
	}
	s.stream = newFakeStream(1, 0)
	s.stream.id.Created = s.stream.id.Created.Add(time.Hour)
	s.write(t, 50)
	if st, err := s.once(t); err == nil || st.State != api.Blocked || !strings.Contains(st.Error, "--accept-stream") {
		t.Errorf("got %q, %q, %v, want it blocked, with the next step", st.State, st.Error, err)
	}
	s.delivered(t, nil)
	if err := AcceptStream(s.cfg); err != nil {
		t.Fatal(err)
	}
	if _, err := s.once(t); err != nil {
		t.Fatal(err)
	}
	s.delivered(t, s.writer.lines[0][50:])
}

func TestForgetLetsGo(t *testing.T) {
	s := newSite(t)
	s.write(t, 300)
	let, err := Forget(s.cfg)
	if err != nil || len(let) != 1 || let[0].Lag == 0 {
		t.Fatalf("got %+v, %v, want what is let go of", let, err)
	}
	state, err := delivery.Load(s.cfg.Forward.State)
	if err != nil || len(state.Kept) != 1 || !slices.Equal(state.Kept, state.Delivered) {
		t.Errorf("got %+v, %v, want that nothing is kept", state, err)
	}
	s.write(t, 5)
	if _, err := s.once(t); err != nil {
		t.Fatal(err)
	}
	s.delivered(t, s.writer.lines[0][300:])
	if let, err = Forget(s.cfg); err != nil || sum(let) != 0 {
		t.Errorf("got %+v, %v, want nothing to let go of", let, err)
	}
}

// TestForgetLetsGoOfNoOtherFile: one that is configured again before the first record is delivered
// goes on where the stream says, although the state was lost.
func TestForgetLetsGoOfNoOtherFile(t *testing.T) {
	s := newSite(t)
	s.write(t, 10)
	own := s.cfg.Listeners[0]
	own.Name, own.File = "own", filepath.Join(t.TempDir(), "own.log")
	both := s.cfg
	both.Listeners = append(slices.Clone(s.cfg.Listeners), own)
	w := newWriter(t, own.File)
	for range 10 {
		w.write(t)
	}
	alone := s.cfg
	s.cfg = both
	if _, err := s.once(t); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(delivery.Path(alone.Forward.State)); err != nil {
		t.Fatal(err)
	}
	s.write(t, 10)
	if _, err := Forget(alone); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		w.write(t)
	}
	s.write(t, 5)
	if _, err := s.once(t); err != nil {
		t.Fatal(err)
	}
	s.delivered(t, append(s.writer.lines[0][:10:10], s.writer.lines[0][20:]...))
	if got := s.stream.lines(delivery.KeyOf(own.File)); !slices.Equal(got, w.lines[0]) {
		t.Errorf("got %d records of the other file in the stream, want its %d once", len(got), len(w.lines[0]))
	}
}

func TestAFileThatIsGoneIsNotGuessed(t *testing.T) {
	s := newSite(t)
	s.write(t, 10)
	if _, err := s.once(t); err != nil {
		t.Fatal(err)
	}
	// Another machine of the same name.
	s.cfg.Record.File = filepath.Join(t.TempDir(), "records.log")
	s.cfg.Forward.State = t.TempDir()
	path := s.cfg.Record.File
	s.stream.messages[len(s.stream.messages)-1].cursor = delivery.Cursor{{Key: delivery.KeyOf(path), Mark: mark("A"), Offset: 5}}
	s.writer = newWriter(t, path)
	s.write(t, 10)
	if st, err := s.once(t); err == nil || st.State != api.Blocked || !strings.Contains(st.Error, "--forget") || !strings.Contains(st.Error, path) {
		t.Errorf("got %q, %q, %v, want it blocked, with the file and the next step", st.State, st.Error, err)
	}
	if _, err := Forget(s.cfg); err != nil {
		t.Fatal(err)
	}
	s.write(t, 5)
	if _, err := s.once(t); err != nil {
		t.Fatal(err)
	}
	s.delivered(t, s.writer.lines[0][10:])
}

func TestOnceEndsWhereAPersonIsNeeded(t *testing.T) {
	s := newSite(t)
	f := newForwarder(t, s.cfg, s.stream, true)
	defer f.Close()
	refused := &stream.Error{Kind: stream.Refused, Err: errors.New("no such user")}
	f.connect = func(context.Context, stream.Options) (connection, error) { return nil, refused }
	if err := f.Run(t.Context()); !errors.Is(err, refused) {
		t.Errorf("got %v, want %v", err, refused)
	}
}

// slowConn publishes when it is told to.
type slowConn struct {
	connection
	begun, goOn chan struct{}
}

func (c *slowConn) Publish(ctx context.Context, b *spool.Batch) (uint64, error) {
	c.begun <- struct{}{}
	<-c.goOn
	return c.connection.Publish(ctx, b)
}

func TestWhatIsUnderWayIsSettledAtTheEnd(t *testing.T) {
	s := newSite(t)
	s.write(t, 3)
	f := newForwarder(t, s.cfg, s.stream, false)
	slow := &slowConn{begun: make(chan struct{}), goOn: make(chan struct{})}
	f.connect = func(ctx context.Context, o stream.Options) (connection, error) {
		c, err := s.stream.connect(ctx, o)
		slow.connection = c
		return slow, err
	}
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan error, 1)
	go func() { over <- f.Run(ctx) }()
	<-slow.begun
	cancel()
	close(slow.goOn)
	if err := <-over; err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	state, err := delivery.Load(s.cfg.Forward.State)
	if err != nil || state.Sequence != s.stream.sequence || state.Sequence == 0 {
		t.Errorf("got %d in the state, %v, want %d", state.Sequence, err, s.stream.sequence)
	}
}

func TestReloadGoesOnWithOtherFiles(t *testing.T) {
	s := newSite(t)
	s.write(t, 20)
	f := newForwarder(t, s.cfg, s.stream, false)
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan error, 1)
	go func() { over <- f.Run(ctx) }()
	stored := func(path string, n int) func() bool {
		return func() bool { return len(s.stream.lines(delivery.KeyOf(path))) == n }
	}
	await.Until(t, stored(s.cfg.Record.File, 20), func() { t.Log("waiting for the records of the first file") })

	next := s.cfg
	next.Listeners = slices.Clone(next.Listeners)
	own := next.Listeners[0]
	own.Name, own.File = "own", filepath.Join(t.TempDir(), "own.log")
	next.Listeners = append(next.Listeners, own)
	w := newWriter(t, own.File)
	w.write(t)
	if err := f.Reload(next); err != nil {
		t.Fatal(err)
	}
	await.Until(t, stored(own.File, 1), func() { t.Log("waiting for the record of the second file") })

	moved := next
	moved.Forward.State = t.TempDir()
	if err := f.Reload(moved); err == nil || !strings.Contains(err.Error(), "restart") {
		t.Errorf("got %v for another state directory, want that it needs a restart", err)
	}
	// What is configured no longer is still delivered.
	if err := f.Reload(s.cfg); err != nil {
		t.Fatal(err)
	}
	w.write(t)
	await.Until(t, stored(own.File, 2), func() { t.Log("waiting for the rest of the second file") })
	cancel()
	if err := errors.Join(<-over, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// refusingConn publishes nothing.
type refusingConn struct {
	connection
	err error
}

func (c *refusingConn) Publish(context.Context, *spool.Batch) (uint64, error) { return 0, c.err }

func TestAnErrorAboutARecordNamesItsFile(t *testing.T) {
	s := newSite(t)
	s.write(t, 3)
	f := newForwarder(t, s.cfg, s.stream, true)
	defer f.Close()
	tooLarge := &stream.Error{Kind: stream.Refused, Err: errors.New("it is too large"), Key: delivery.KeyOf(s.cfg.Record.File)}
	f.connect = func(ctx context.Context, o stream.Options) (connection, error) {
		c, err := s.stream.connect(ctx, o)
		return &refusingConn{c, tooLarge}, err
	}
	if err := f.Run(t.Context()); !errors.Is(err, tooLarge.Err) || !strings.Contains(err.Error(), s.cfg.Record.File) {
		t.Errorf("got %v, want an error with the path of the file", err)
	}
}
