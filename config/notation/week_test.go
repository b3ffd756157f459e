package notation

import "testing"

func TestWindows(t *testing.T) {
	for _, tc := range []struct{ name, text, want string }{
		{"all day", "00:00-24:00", "00:00-24:00"},
		{"every day", "Mon-Sun 08:00-18:00", "08:00-18:00"},
		{"every day from another", "Thu-Wed 08:00-18:00", "08:00-18:00"},
		{"a day", "Wed 00:00-00:01", "Wed 00:00-00:01"},
		{"working days", "Mon-Fri 08:00-18:00", "Mon-Fri 08:00-18:00"},
		{"two days", "Sun,Sat 22:00-06:00", "Sat-Sun 22:00-06:00"},
		{"over the end of the week", "Fri-Mon 22:00-06:00", "Mon,Fri-Sun 22:00-06:00"},
		{"days apart", "Mon,Wed,Fri,Sun 23:59-24:00", "Mon,Wed,Fri,Sun 23:59-24:00"},
		{"one day often", "Mon,Mon,Mon-Tue 01:00-02:00", "Mon-Tue 01:00-02:00"},
	} {
		w, ok := ParseWindow(tc.text)
		if got := w.String(); !ok || got != tc.want {
			t.Errorf("%s: got %q, %v, want %q", tc.name, got, ok, tc.want)
		}
		if again, ok := ParseWindow(tc.want); !ok || again != w {
			t.Errorf("%s: %q read again: got %+v, %v, want %+v", tc.name, tc.want, again, ok, w)
		}
	}
}
