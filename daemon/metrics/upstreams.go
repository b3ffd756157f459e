package metrics

// Upstream is what a proxy's clients are connected with.
type Upstream struct {
	Sent        int64            // bytes of clients that upstreams have got
	Answered    int64            // bytes of upstreams that clients have got
	Connects    map[string]int64 // connections that were tried, by how that ended
	ConnectTime Histogram        // seconds that those took that were made
}

// upstreams writes what is known of listeners that are proxies, if any is.
func (t *text) upstreams(s *Snapshot) {
	if len(s.Upstreams) == 0 {
		return
	}
	all := s.Status.Listeners
	t.Family("counter", "tcpmux_proxy_bytes_total", "Bytes that were carried to upstreams, and to clients.")
	for i := range all {
		if u, ok := s.Upstreams[all[i].Name]; ok {
			t.Sample(float64(u.Sent), "listener", all[i].Name, "to", "upstream")
			t.Sample(float64(u.Answered), "listener", all[i].Name, "to", "client")
		}
	}
	t.Family("counter", "tcpmux_proxy_connects_total", "Connections with upstreams that were tried, by how that ended.")
	times := map[string]Histogram{}
	for i := range all {
		if u, ok := s.Upstreams[all[i].Name]; ok {
			t.by("result", all[i].Name, u.Connects)
			times[all[i].Name] = u.ConnectTime
		}
	}
	t.byListener(all, "tcpmux_proxy_connect_seconds", "How long it took to connect with an upstream.", times)
}
