package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// response is what all answers of JetStream's API have.
type response struct {
	Error *jetstream.APIError `json:"error"`
}

// request asks JetStream and decodes its answer into into. The error is a *missingError if what is
// asked for does not exist.
func (c *Conn) request(ctx context.Context, subject string, body, into any) error {
	what := fmt.Sprintf("ask JetStream for %s", subject)
	text, err := json.Marshal(body)
	if err != nil {
		return err // which cannot be
	}
	m, err := c.ask(ctx, what, &nats.Msg{Subject: c.prefix + subject, Data: text})
	if err != nil {
		return err
	}
	var r response
	if err := json.Unmarshal(m.Data, &r); err != nil {
		return outage("%s: the answer is no JSON: %w", what, hostile{err})
	}
	if r.Error != nil {
		if isMissing(r.Error) {
			return &missingError{r.Error}
		}
		return apiError(what, r.Error)
	}
	if err := json.Unmarshal(m.Data, into); err != nil {
		return outage("%s: the answer is not as expected: %w", what, hostile{err})
	}
	return nil
}

// ask sends a request and waits for the answer, the end of ctx, the timeout, or the end of the
// connection.
func (c *Conn) ask(ctx context.Context, what string, m *nats.Msg) (*nats.Msg, error) {
	if err := c.failed(ctx); err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, c.opt.Timeout)
	defer cancel()
	defer context.AfterFunc(c.life, cancel)()
	defer context.AfterFunc(ctx, c.raw.abort)()
	answer, err := c.nc.RequestMsgWithContext(limited, m)
	if err != nil {
		if failed := c.failed(ctx); failed != nil {
			return nil, failed
		}
		return nil, requestError(what, err)
	}
	return answer, nil
}

// missingError reports that a stream or a message does not exist.
type missingError struct{ err *jetstream.APIError }

// Error returns the text of the server, quoted and bounded.
func (e *missingError) Error() string { return hostile{e.err}.Error() }

func isMissing(e *jetstream.APIError) bool {
	return e.ErrorCode == jetstream.JSErrCodeStreamNotFound || e.ErrorCode == jetstream.JSErrCodeMessageNotFound
}

// streamInfo asks for the stream. The error is a *missingError if there is none.
func (c *Conn) streamInfo(ctx context.Context) (info jetstream.StreamInfo, err error) {
	err = c.request(ctx, "STREAM.INFO."+c.opt.Forward.Stream, struct{}{}, &info)
	return info, err
}

// getRequest asks for a message. Unlike a direct get, it is answered by the leader of the stream.
type getRequest struct {
	Sequence uint64 `json:"seq,omitempty"`
	LastFor  string `json:"last_by_subj,omitempty"`
	NextFor  string `json:"next_by_subj,omitempty"`
}

// stored is a message of the stream.
type stored struct {
	Subject  string    `json:"subject"`
	Sequence uint64    `json:"seq"`
	Header   []byte    `json:"hdrs"`
	Time     time.Time `json:"time"`
}

// get asks for a message. It returns nil if there is none.
func (c *Conn) get(ctx context.Context, r getRequest) (*stored, error) {
	var answer struct {
		Message *stored `json:"message"`
	}
	err := c.request(ctx, "STREAM.MSG.GET."+c.opt.Forward.Stream, r, &answer)
	if missing, ok := errors.AsType[*missingError](err); ok {
		if missing.err.ErrorCode == jetstream.JSErrCodeStreamNotFound {
			return nil, apiError("get a message", missing.err)
		}
		return nil, nil
	}
	if err == nil && answer.Message == nil {
		err = outage("get a message of stream %q: the answer has none", c.opt.Forward.Stream)
	}
	return answer.Message, err
}
