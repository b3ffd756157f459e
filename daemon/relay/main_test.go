package relay_test

import (
	"testing"

	"tcpmux/daemon/servertest"
)

func TestMain(m *testing.M) { servertest.Main(m) }
