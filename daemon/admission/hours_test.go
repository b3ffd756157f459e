package admission

import (
	"net/netip"
	"testing"
	"time"
)

func TestHours(t *testing.T) {
	workdays, saturday := [7]bool{true, true, true, true, true}, [7]bool{5: true}
	for _, c := range []struct {
		name    string
		hours   Hours
		in, out []string
	}{
		{"always", nil, []string{"Mon 00:00", "Sun 23:59"}, nil},
		{"office", Hours{{workdays, 480, 1080}}, []string{"Mon 08:00", "Fri 17:59"}, []string{"Mon 07:59", "Mon 18:00", "Sat 12:00", "Sun 12:00"}},
		{"two", Hours{{workdays, 480, 1080}, {saturday, 600, 1440}}, []string{"Mon 08:00", "Sat 23:59"}, []string{"Sat 09:59", "Sun 00:00"}},
		{"over midnight", Hours{{workdays, 1320, 360}}, []string{"Mon 22:00", "Tue 05:59", "Fri 23:00", "Sat 05:59"}, []string{"Mon 05:59", "Mon 06:00", "Sat 06:00", "Sat 22:00", "Sun 05:00"}},
		{"over the week's end", Hours{{[7]bool{6: true}, 1320, 360}}, []string{"Sun 22:00", "Mon 05:59"}, []string{"Sun 05:59", "Mon 06:00", "Tue 05:00"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for want, texts := range map[Verdict][]string{Admitted: c.in, Untimely: c.out} {
				for _, text := range texts {
					if _, got := (&Gate{Hours: c.hours}).Enter(netip.IPv4Unspecified(), weekday(t, text)); got != want {
						t.Errorf("%s: got %v, want %v", text, got, want)
					}
				}
			}
		})
	}
}

// weekday returns a time of some week, such as "Mon 08:00".
func weekday(t *testing.T, text string) time.Time {
	t.Helper()
	for day := 1; day <= 7; day++ {
		if at := time.Date(2026, 6, day, 0, 0, 0, 0, time.UTC); at.Format("Mon") == text[:3] {
			clock, err := time.Parse("15:04", text[4:])
			if err != nil {
				t.Fatal(err)
			}
			return at.Add(time.Duration(clock.Hour())*time.Hour + time.Duration(clock.Minute())*time.Minute)
		}
	}
	t.Fatalf("%q: no such day", text)
	return time.Time{}
}
