package recordfile

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // the same zones everywhere
)

// zones are time zones with all that a clock can do: half hours, quarters, changes at midnight, a
// change by half an hour, days that were skipped.
var zones = []string{
	"UTC", "Europe/Berlin", "America/Sao_Paulo", "Asia/Beirut", "Australia/Lord_Howe", "Asia/Kathmandu",
	"America/Havana", "America/St_Johns", "Atlantic/Azores", "Africa/Cairo", "Asia/Tehran", "Asia/Kolkata",
	"Pacific/Chatham", "America/Asuncion", "Africa/Casablanca", "Antarctica/Troll", "Asia/Gaza",
}

func zone(t *testing.T, name string) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

var periods = map[string]Period{"hourly": Hourly, "daily": Daily, "weekly": Weekly}

// changes returns the moments from 1975 to 2040 at which the clock is changed.
func changes(loc *time.Location) (all []time.Time) {
	end := time.Date(2040, 1, 1, 0, 0, 0, 0, loc)
	for at := time.Date(1975, 1, 1, 0, 0, 0, 0, loc); ; {
		if _, at = at.ZoneBounds(); at.IsZero() || at.After(end) {
			return all
		}
		all = append(all, at)
	}
}

// moments returns moments at random, and before, at and after each change of the clock.
func moments(loc *time.Location, rnd *rand.Rand) (all []time.Time) {
	for _, at := range changes(loc) {
		for _, d := range []time.Duration{0, -1, 1, -time.Hour, time.Hour, -24 * time.Hour} {
			all = append(all, at.Add(d))
		}
		all = append(all, at.Add(time.Duration(rnd.Int64N(int64(48*time.Hour)))-24*time.Hour))
	}
	for range 200 {
		all = append(all, time.Unix(rnd.Int64N(2_200_000_000), rnd.Int64N(1e9)).In(loc))
	}
	return all
}

// TestPeriodsEndByTheWallClock: a monotonic clock stands still while the machine sleeps, and does
// not follow a clock that is set.
func TestPeriodsEndByTheWallClock(t *testing.T) {
	for name, p := range periods {
		if end := p.next(time.Now()); end != end.Round(0) {
			t.Errorf("%s: got %v, want no monotonic reading", name, end)
		}
	}
}

// TestEveryMomentIsInOnePeriod: the ends of periods follow each other, each moment up to one has
// the same one, and periods have the length that the clock gives them.
func TestEveryMomentIsInOnePeriod(t *testing.T) {
	length := map[Period][2]time.Duration{
		Hourly: {30 * time.Minute, time.Hour},
		Daily:  {22 * time.Hour, 26 * time.Hour},
		Weekly: {7*24*time.Hour - 2*time.Hour, 7*24*time.Hour + 2*time.Hour},
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, name := range zones {
		for word, p := range periods {
			for _, now := range moments(zone(t, name), rnd) {
				begin := p.next(now)
				end := p.next(begin)
				long, limits := end.Sub(begin), length[p]
				within := begin.Add(time.Duration(rnd.Int64N(int64(long))))
				if !begin.After(now) || long < limits[0] || long > limits[1] {
					t.Fatalf("%s, %s: after %v came %v and %v, want times from %v to %v apart", name, word, now, begin, end, limits[0], limits[1])
				}
				for _, at := range []time.Time{within, end.Add(-1)} {
					if got := p.next(at); !got.Equal(end) {
						t.Fatalf("%s, %s: the period of %v ends at %v, want %v", name, word, at, got, end)
					}
				}
				if now.Add(p.longest()).Before(begin) || p.astray(begin, now) {
					t.Fatalf("%s, %s: %v ends at %v, which is said to be too far away", name, word, now, begin)
				}
			}
		}
	}
}

// TestPeriodsEndWhenTheClockSaysSo: an hour at minute 0, a day when the date changes, a week on
// Monday; a gap of the clock may be in between.
func TestPeriodsEndWhenTheClockSaysSo(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for _, name := range zones {
		loc := zone(t, name)
		changed := changes(loc)
		for _, now := range moments(loc, rnd) {
			hour := Hourly.next(now)
			if at := hour; at.Minute() != 0 && !slices.ContainsFunc(changed, at.Equal) || at.Second() != 0 || at.Nanosecond() != 0 {
				t.Errorf("%s: got %v after %v, want a full hour", name, at, now)
			}
			day := Daily.next(now)
			before := day.Add(-1)
			if clock := day.Format("15:04:05.999"); day.YearDay() == before.YearDay() || clock != "00:00:00" && !slices.ContainsFunc(changed, day.Equal) {
				t.Errorf("%s: got %v after %v, want the begin of a day", name, day, now)
			}
			if at := Weekly.next(now); at.Weekday() != time.Monday || at.Add(-1).Weekday() == time.Monday {
				t.Errorf("%s: got %v after %v, want the begin of Monday", name, at, now)
			}
		}
	}
}

// TestDaysOnWhichTheClockIsChanged holds ends of periods that a reader can check.
func TestDaysOnWhichTheClockIsChanged(t *testing.T) {
	const form = "2006-01-02 15:04 -0700"
	for _, c := range []struct {
		what, zone string
		period     Period
		from       string
		want       []string
	}{
		{"a day of 23 hours", "Europe/Berlin", Daily, "2026-03-28 12:00 +0100", []string{"2026-03-29 00:00 +0100", "2026-03-30 00:00 +0200"}},
		{"a day of 25 hours", "Europe/Berlin", Daily, "2026-10-24 12:00 +0200", []string{"2026-10-25 00:00 +0200", "2026-10-26 00:00 +0100"}},
		{"the hour that is twice there", "Europe/Berlin", Hourly, "2026-10-25 01:30 +0200",
			[]string{"2026-10-25 02:00 +0200", "2026-10-25 02:00 +0100", "2026-10-25 03:00 +0100"}},
		{"the hour that is not there", "Europe/Berlin", Hourly, "2026-03-29 01:30 +0100", []string{"2026-03-29 03:00 +0200", "2026-03-29 04:00 +0200"}},
		{"no midnight", "America/Sao_Paulo", Daily, "2018-11-03 12:00 -0300", []string{"2018-11-04 01:00 -0200", "2018-11-05 00:00 -0200"}},
		{"the clock is set back at midnight", "America/Sao_Paulo", Daily, "2018-02-17 12:00 -0200", []string{"2018-02-18 00:00 -0300", "2018-02-19 00:00 -0300"}},
		{"no midnight in Beirut", "Asia/Beirut", Daily, "2022-03-26 12:00 +0200", []string{"2022-03-27 01:00 +0300", "2022-03-28 00:00 +0300"}},
		{"two midnights", "America/Havana", Daily, "2025-11-01 12:00 -0400", []string{"2025-11-02 00:00 -0400", "2025-11-03 00:00 -0500"}},
		{"half an hour back", "Australia/Lord_Howe", Hourly, "2026-04-05 01:10 +1100", []string{"2026-04-05 01:30 +1030", "2026-04-05 02:00 +1030"}},
		{"half an hour on", "Australia/Lord_Howe", Hourly, "2026-10-04 01:10 +1030", []string{"2026-10-04 02:30 +1100", "2026-10-04 03:00 +1100"}},
		{"quarters", "Asia/Kathmandu", Hourly, "2026-01-01 00:10 +0545", []string{"2026-01-01 01:00 +0545"}},
		{"a week", "Europe/Berlin", Weekly, "2026-03-29 12:00 +0200", []string{"2026-03-30 00:00 +0200", "2026-04-06 00:00 +0200"}},
		{"from Monday to Monday", "Europe/Berlin", Weekly, "2026-03-30 00:00 +0200", []string{"2026-04-06 00:00 +0200"}},
		{"a day that was skipped", "Pacific/Apia", Daily, "2011-12-29 12:00 -1000", []string{"2011-12-31 00:00 +1400", "2012-01-01 00:00 +1400"}},
	} {
		at, err := time.ParseInLocation(form, c.from, zone(t, c.zone))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for range c.want {
			at = c.period.next(at.In(zone(t, c.zone)))
			got = append(got, at.Format(form))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s, %s: got %s, want %s", c.what, c.zone, strings.Join(got, ", "), strings.Join(c.want, ", "))
		}
	}
}

func TestParsePeriod(t *testing.T) {
	for word, want := range periods {
		if got, err := ParsePeriod(word); got != want || err != nil {
			t.Errorf("%s: got %v, %v, want %v", word, got, err, want)
		}
	}
	if got, err := ParsePeriod(""); got != NoPeriod || err != nil {
		t.Errorf("empty: got %v, %v, want %v", got, err, NoPeriod)
	}
	if _, err := ParsePeriod("monthly"); err == nil {
		t.Error("monthly: got no error, want one")
	}
}
