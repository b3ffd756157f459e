package main

import (
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"tcpmux/daemon/control/api"
)

// fieldTerm is the names of one or more fields, which one text describes.
var fieldTerm = regexp.MustCompile(`(?m)^\.TP.*\n\.B "?([a-z_, ]+)"?$`)

// TestEveryFieldOfTheControlSocketIsDescribed holds that tcpmux-control(7) has the fields of each
// answer, in their order, and no others.
func TestEveryFieldOfTheControlSocketIsDescribed(t *testing.T) {
	_, text, found := strings.Cut(read(t, "tcpmux-control.7"), "\n.SH FIELDS\n")
	if !found {
		t.Fatal("got no section FIELDS")
	}
	text, _, _ = strings.Cut(text, "\n.SH ")
	got := map[string][]string{}
	for _, section := range strings.Split(text, "\n.SS ")[1:] {
		name, body, _ := strings.Cut(section, "\n")
		for _, m := range fieldTerm.FindAllStringSubmatch(body, -1) {
			got[name] = append(got[name], strings.Split(m[1], ", ")...)
		}
	}
	want := map[string][]string{}
	for name, value := range map[string]any{
		"STATUS": api.Status{}, "CONFIG": api.Config{}, "SURVIVE": api.Survive{}, "LISTENER": api.Listener{},
		"LISTENER TLS": api.ListenerTLS{}, "TLS CLIENTS": api.TLSClients{}, "TLS": api.TLS{}, "SESSION TLS": api.SessionTLS{},
		"COUNTS": api.Counts{}, "FILE": api.File{}, "SESSION": api.Session{}, "DETAIL": api.Detail{}, "TCP": api.TCP{},
		"RECORD": api.Record{}, "DRAINED": api.Drained{}, "RELOADED": api.Reloaded{}, "CHANGE": api.Change{},
	} {
		want[name] = jsonNames(reflect.TypeOf(value))
	}
	for name, fields := range want {
		slices.Sort(fields)
		slices.Sort(got[name])
		if !slices.Equal(got[name], fields) {
			t.Errorf("%s: got %q, want %q", name, got[name], fields)
		}
	}
	if len(got) != len(want) {
		t.Errorf("got %d sections with fields, want %d", len(got), len(want))
	}
}

// jsonNames returns the names that the fields of a type have in JSON, without those of what it
// embeds.
func jsonNames(of reflect.Type) (names []string) {
	for i := range of.NumField() {
		name, _, _ := strings.Cut(of.Field(i).Tag.Get("json"), ",")
		if name != "" {
			names = append(names, name)
		}
	}
	return names
}
