package systemd

import "testing"

func TestUnitIn(t *testing.T) {
	for text, want := range map[string]string{
		"0::/system.slice/tcpmux.service\n":                            "tcpmux.service",
		"0::/system.slice/system-tcpmux.slice/tcpmux@a.service\n":      "tcpmux@a.service",
		"0::/system.slice/tcpmux.service/sub/group\n":                  "tcpmux.service",
		"1:name=systemd:/x.service\n0::/system.slice/tcpmux.service\n": "tcpmux.service",
		"0::/user.slice/user-0.slice/session-1.scope\n":                "",
		"0::/\n": "",
		"":       "",
		"junk":   "",
	} {
		if got := unitIn(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestStops(t *testing.T) {
	for _, c := range []struct {
		name, jobs string
		want       bool
	}{
		{"a stop", "546 tcpmux.service stop running\n", true},
		{"a restart", "546 tcpmux.service restart running\n", false},
		{"a start", "546 tcpmux.service start waiting\n", false},
		{"another's stop", "546 tcpmux.socket stop waiting\n", false},
		{"among others", "1 tcpmux.socket restart waiting\n546 tcpmux.service stop running\n", true},
		{"none", "", false},
		{"junk", "No jobs running.\n", false},
	} {
		if got := stops(c.jobs, "tcpmux.service"); got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

func TestWithoutAServiceManagerNoStopIsAsked(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	if StopAsked(t.Context()) {
		t.Error("got a stop, want none")
	}
}
