// Package page is the status page: one page of HTML with its script and its style, embedded in the
// program. It loads nothing from elsewhere, reads /v1/status and /v1/sessions, and shows whatever
// they say as text, never as markup.
package page

import "embed"

// Files are the files of the page by their paths: index.html, app.js and style.css.
//
//go:embed index.html app.js style.css
var Files embed.FS
