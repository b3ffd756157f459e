package worker_test

import (
	"testing"

	"tcpmux/daemon/servertest"
	"tcpmux/internal/fuzzing"
)

func init() { fuzzing.FixRapid() }

func TestMain(m *testing.M) { servertest.Main(m) }
