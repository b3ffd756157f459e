package metrics

import (
	"slices"

	"tcpmux/daemon/control/api"
	"tcpmux/daemon/metrics/prometheus"
)

// certificates writes what is known of the certificates of listeners, if any are in force.
func (t *text) certificates(s *Snapshot) {
	var all []api.Listener
	for _, l := range s.Status.Listeners {
		if l.TLS != nil && !l.TLS.Loaded.IsZero() {
			all = append(all, l)
		}
	}
	if len(all) == 0 {
		return
	}
	each := func(kind, name, help string, value func(c *api.ListenerTLS) float64) {
		t.Family(kind, name, help)
		for l := range slices.Values(all) {
			t.Sample(value(l.TLS), "listener", l.Name)
		}
	}
	each("gauge", "tcpmux_tls_certificate_expiry_timestamp_seconds", "When the first certificate of the server's chain expires, in seconds since the epoch.",
		func(c *api.ListenerTLS) float64 { return prometheus.Seconds(c.Expires) })
	each("gauge", "tcpmux_tls_certificates_loaded_timestamp_seconds", "When the certificates in force were loaded, in seconds since the epoch.",
		func(c *api.ListenerTLS) float64 { return prometheus.Seconds(c.Loaded) })
	each("counter", "tcpmux_tls_certificate_failures_total", "Loads of certificates that have failed, so that those before stay in force.",
		func(c *api.ListenerTLS) float64 { return float64(c.Failures) })
}
