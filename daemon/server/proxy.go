package server

import (
	"tcpmux/config"
	"tcpmux/daemon/relay"
	"tcpmux/daemon/session"
	"tcpmux/daemon/tlsconn"
	"tcpmux/daemon/upstream"
)

// proxyService returns what makes the service of a session with an upstream. A client of the
// previous process goes on with the upstream that it had. Without one it is only recorded, if it
// has sent something: no upstream begins in the middle of a stream.
func proxyService(c config.Listener) func(*session.Session) (session.Service, error) {
	dialer := upstream.NewDialer(c.Proxy, c.LostTimeout)
	return func(ss *session.Session) (session.Service, error) {
		if ss.Resumed() && ss.Upstream == nil && ss.Resume.Offset > 0 {
			return session.NewRecorder(ss), nil
		}
		return relay.New(ss, dialer), nil
	}
}

// ends reports whether the listener's clients end with this process, whatever keeps others: a
// program does, and the connection with an upstream where this process speaks TLS with either, and
// not the kernel.
func (s *Settings) ends() bool {
	secured := s.TLS != nil && s.TLS.Kernel == tlsconn.Never
	return s.runsProgram() || s.Proxies() && (secured || s.Settings.Proxy.TLS)
}
