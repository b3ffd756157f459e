package notation

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Rate is a count per second, minute or hour. The zero value is no limit.
type Rate struct {
	Count int
	Per   time.Duration
}

// ratePer are the units of a rate.
var ratePer = []struct {
	name string
	per  time.Duration
}{{"s", time.Second}, {"m", time.Minute}, {"h", time.Hour}}

// String returns the rate as it is written in a file: "10/s", or "" for the zero value.
func (r Rate) String() string {
	for _, u := range ratePer {
		if r.Count > 0 && r.Per == u.per {
			return fmt.Sprintf("%d/%s", r.Count, u.name)
		}
	}
	return ""
}

// ParseRate reads what String writes. ok is false for anything else.
func ParseRate(s string) (r Rate, ok bool) {
	if s == "" {
		return Rate{}, true
	}
	count, unit, _ := strings.Cut(s, "/")
	n, err := strconv.ParseUint(count, 10, 31)
	for _, u := range ratePer {
		if u.name == unit && err == nil && n > 0 {
			return Rate{int(n), u.per}, true
		}
	}
	return Rate{}, false
}
