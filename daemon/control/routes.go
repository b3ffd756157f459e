package control

import (
	"io/fs"
	"mime"
	"net/http"
	"path"

	"tcpmux/daemon/control/api"
	"tcpmux/daemon/control/page"
)

const version = "/" + api.Version

// full returns all that the control socket has.
func (s *Server) full() http.Handler {
	mux := http.NewServeMux()
	s.handleRead(mux)
	mux.HandleFunc("GET "+version+"/tail", s.tail)
	mux.HandleFunc("DELETE "+version+"/sessions/{id}", s.change(s.killOne))
	mux.HandleFunc("DELETE "+version+"/sessions", s.change(s.killMany))
	mux.HandleFunc("POST "+version+"/listeners/{name}/drain", s.change(s.drain(true)))
	mux.HandleFunc("POST "+version+"/listeners/{name}/undrain", s.change(s.drain(false)))
	mux.HandleFunc("POST "+version+"/rotate", s.change(s.rotate))
	mux.HandleFunc("POST "+version+"/reload", s.change(s.reload))
	return ErrorsInJSON(mux, "see tcpmux-control(7)")
}

// public returns what a status address has.
func (s *Server) public() http.Handler {
	mux := http.NewServeMux()
	s.handleRead(mux)
	handlePage(mux)
	return ErrorsInJSON(mux, "see tcpmux-control(7)")
}

// handleRead adds what everybody may read.
func (s *Server) handleRead(mux *http.ServeMux) {
	mux.HandleFunc("GET "+version+"/status", s.status)
	mux.HandleFunc("GET "+version+"/sessions", s.sessions)
	mux.HandleFunc("GET "+version+"/sessions/{id}", s.session)
	mux.HandleFunc("GET /metrics", s.metrics)
	mux.HandleFunc("GET /healthz", s.healthz)
	mux.HandleFunc("GET /readyz", s.readyz)
}

// handlePage adds the files of the status page.
func handlePage(mux *http.ServeMux) {
	files, err := fs.ReadDir(page.Files, ".")
	if err != nil {
		panic(err) // they are embedded
	}
	for _, f := range files {
		text, err := page.Files.ReadFile(f.Name())
		if err != nil {
			panic(err)
		}
		kind := mime.TypeByExtension(path.Ext(f.Name()))
		serve := func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", kind)
			_, _ = w.Write(text) // an error is one of the connection
		}
		pattern := "GET /" + f.Name()
		if f.Name() == "index.html" {
			pattern = "GET /{$}"
		}
		mux.HandleFunc(pattern, serve)
	}
}

// ErrorsInJSON has the errors of mux itself, 404 and 405, look like all others. hint is where to
// read which paths there are.
func ErrorsInJSON(mux *http.ServeMux, hint string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h, pattern := mux.Handler(r)
		if pattern != "" {
			mux.ServeHTTP(w, r)
			return
		}
		c := capture{header: http.Header{}}
		h.ServeHTTP(&c, r)
		if c.status != http.StatusMethodNotAllowed {
			fail(w, http.StatusNotFound, "there is nothing at this path: "+hint)
			return
		}
		allow := c.header.Get("Allow")
		w.Header().Set("Allow", allow)
		fail(w, http.StatusMethodNotAllowed, "want one of these methods: "+allow)
	})
}

// capture is the header of an answer that is not sent.
type capture struct {
	header http.Header
	status int
}

// Header returns the header.
func (c *capture) Header() http.Header { return c.header }

// WriteHeader notes the status.
func (c *capture) WriteHeader(status int) { c.status = status }

// Write drops the body.
func (c *capture) Write(b []byte) (int, error) { return len(b), nil }
