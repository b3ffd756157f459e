package handover

import (
	"net/netip"
	"testing"

	"tcpmux/config"
	"tcpmux/daemon/server"
	"tcpmux/daemon/session"
	"tcpmux/daemon/sockaddr"
	"tcpmux/daemon/state"
	"tcpmux/daemon/tlsconn"
)

// TestTheStreamInTLSBeginsBehindTheName, wherever the process before was killed.
func TestTheStreamInTLSBeginsBehindTheName(t *testing.T) {
	inTLS, before := state.Named{Size: 7, By: 1, TLS: true}, state.Named{Size: 7, By: 1}
	for _, c := range []struct {
		what    string
		name    state.Named
		taken   int   // of the stream in TLS
		unread  int   // and waits
		tally   int64 // what is recorded of the client's stream
		greeted bool
		skipped int
		offset  int64
		left    int // of unread
		reply   string
	}{
		{"noted and not taken", inTLS, 0, 20, 0, false, 7, 0, 13, session.MuxReply},
		{"taken", inTLS, 7, 13, 0, false, 0, 0, 13, session.MuxReply},
		{"greeted", inTLS, 7, 13, 0, true, 0, 0, 13, ""},
		{"a message is taken", inTLS, 12, 8, 5, true, 0, 5, 8, ""},
		{"a message is recorded and not taken", inTLS, 7, 13, 5, true, 5, 5, 8, ""},
		{"before the handshake", before, 0, 20, 0, true, 0, 0, 20, ""},
		{"before the handshake, and the banner is not sent", before, 0, 20, 0, false, 0, 0, 20, ""},
		{"before the handshake, a message is recorded", before, 0, 20, 5, true, 5, 5, 15, ""},
		{"none", state.Named{}, 3, 17, 5, true, 2, 5, 15, ""},
	} {
		t.Run(c.what, func(t *testing.T) {
			slots, err := state.New(1)
			if err != nil {
				t.Fatal(err)
			}
			defer slots.Close()
			entries, err := state.NewTLS(1)
			if err != nil {
				t.Fatal(err)
			}
			defer entries.Close()
			slot, entry := slots.Take(1), entries.Take(1)
			slot.SetClient(netip.MustParseAddrPort("192.0.2.1:1"), 50) // before TLS in any case
			slot.Count(state.Tally{Offset: c.tally, Records: 1})
			take := func(n int) {
				*entry.Taking(n, 'x') = 'x'
				entry.Taken()
			}
			if c.taken > 0 {
				take(c.taken)
			}
			skipped := 0
			h := &Handover{tls: tlsStore{skip: func(_ uintptr, n int, _ tlsconn.Memory) error {
				skipped += n
				take(n)
				return nil
			}}}
			r := server.Resumed{Settings: &server.Settings{}, Client: sockaddr.Peer{}}
			r.Config.Past = &session.Past{Staged: true}
			k := kernelState{tls: tlsconn.Encrypting, unread: c.unread, greeted: c.greeted, consumed: 4711}
			h.goOnTLS(&r, &k, slot, &tlsLeft{entry: entry, sound: true}, c.name)
			got := r.Config.Resume
			if skipped != c.skipped || got.Offset != c.offset || got.Unread != c.left || r.Config.Reply != c.reply || !r.Config.Staged {
				t.Errorf("skipped %d, offset %d, unread %d, reply %q, staged %v; want %d, %d, %d, %q", skipped, got.Offset, got.Unread,
					r.Config.Reply, r.Config.Staged, c.skipped, c.offset, c.left, c.reply)
			}
			if r.Config.Source.Remote != "192.0.2.1:1" {
				t.Errorf("remote: got %q", r.Config.Source.Remote)
			}
		})
	}
}

// TestAMuxInTLSAsksForTheName that its client has not given.
func TestAMuxInTLSAsksForTheName(t *testing.T) {
	entries, err := state.NewTLS(1)
	if err != nil {
		t.Fatal(err)
	}
	defer entries.Close()
	h := &Handover{}
	mux := &server.Settings{Settings: session.Settings{Listener: config.Listener{Mux: []string{"a"}}}}
	r := server.Resumed{Settings: mux}
	r.Config.Past = &session.Past{Staged: true}
	h.goOnTLS(&r, &kernelState{tls: tlsconn.Encrypting}, nil, &tlsLeft{entry: entries.Take(1), sound: true}, state.Named{})
	if r.Config.Staged || r.Config.Done != session.DoneProxy|session.DoneTLS || r.Config.Resume != nil || r.TLS == nil {
		t.Errorf("got %+v", r.Config)
	}
}
