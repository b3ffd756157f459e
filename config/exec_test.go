package config

import (
	"reflect"
	"testing"
)

// TestBannerOfAProgram holds that clients of a program get only a banner of the same table.
func TestBannerOfAProgram(t *testing.T) {
	c := load(t, `banner = "top"
[[listener]]
name = "silent"
address = ":1"
exec = ["/bin/cat"]
[[listener]]
name = "greeted"
address = ":2"
exec = ["/bin/cat"]
banner = "own"
[[listener]]
name = "recorded"
address = ":3"
exec = []
`)
	var got []string
	for _, l := range c.Listeners {
		got = append(got, l.Name+" "+l.Banner.Raw)
	}
	if want := []string{"tcpmux top", "silent ", "greeted own", "recorded top"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if main := load(t, `exec = ["/bin/cat"]`).Listeners[0]; !main.Banner.Empty() {
		t.Errorf("banner of the main listener: got %q, want none", main.Banner)
	}
}

// TestRecordOfAListener holds that clients are recorded without a program, or with record = true.
func TestRecordOfAListener(t *testing.T) {
	c := load(t, `exec = ["/bin/cat"]
[record]
file = "all.log"
[[listener]]
name = "silent"
address = ":1"
[[listener]]
name = "recorded"
address = ":2"
record = true
[[listener]]
name = "without"
address = ":3"
exec = []
`)
	got := map[string]bool{}
	for _, l := range c.Listeners {
		got[l.Name] = l.Record
	}
	if want := map[string]bool{"tcpmux": false, "silent": false, "recorded": true, "without": true}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	roundTrip(t, c)
}

// TestLoadEarly holds that programs and users need not exist yet, and that all else is checked.
func TestLoadEarly(t *testing.T) {
	const text = `exec = ["/not/yet/mounted"]
exec_user = "not-yet"
`
	if _, err := parse("t.toml", []byte(text), false); err == nil {
		t.Error("got no error, want two")
	}
	c, err := parse("t.toml", []byte(text), true)
	if err != nil || len(c.Listeners[0].Exec) != 1 || c.Listeners[0].ExecUser != "not-yet" {
		t.Errorf("early: got %+v, %v, want the listener", c.Listeners, err)
	}
	if _, err := parse("t.toml", []byte(`exec = ["relative"]`), true); err == nil {
		t.Error("a relative path, early: got no error, want one")
	}
}
