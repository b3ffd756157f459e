package bench

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/go-analyze/charts"
)

// PlotFormats are the suffixes of files that Plot can draw.
var PlotFormats = []string{".svg", ".png"}

// PlotFormat returns the format for Plot that the suffix of a path asks for.
func PlotFormat(path string) (format string, err error) {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".svg":
		return charts.ChartOutputSVG, nil
	case ".png":
		return charts.ChartOutputPNG, nil
	}
	return "", fmt.Errorf("--plot %q, want a name that ends in %s", path, strings.Join(PlotFormats, " or "))
}

// The sizes of the plot in pixels. It has two charts, side by side.
const (
	plotWidth  = 1100
	plotHeight = 420
	labelSize  = 10 // of names and scales, in points
	nameGap    = 16
)

// Plot draws the rates, and the latencies to the right of them. format comes from PlotFormat.
func (c Comparison) Plot(format string) ([]byte, error) {
	p := charts.NewPainter(charts.PainterOptions{OutputFormat: format, Width: plotWidth, Height: plotHeight})
	names, rates, p50s, p99s := c.plotted()
	left := p.Child(charts.PainterBoxOption(charts.NewBox(0, 0, plotWidth/2, plotHeight)))
	if err := left.BarChart(chart(c.Unit+" a second: more is better", names, [][]float64{rates}, nil)); err != nil {
		return nil, fmt.Errorf("draw the rates: %w", err)
	}
	right := p.Child(charts.PainterBoxOption(charts.NewBox(plotWidth/2, 0, plotWidth, plotHeight)))
	if err := right.BarChart(chart("latency in ms: less is better", names, [][]float64{p50s, p99s}, []string{"50 %", "99 %"})); err != nil {
		return nil, fmt.Errorf("draw the latencies: %w", err)
	}
	return p.Bytes()
}

// plotted returns the data of the servers, the last one first, because the axis grows upwards.
func (c Comparison) plotted() (names []string, rates, p50s, p99s []float64) {
	for i := len(c.Servers) - 1; i >= 0; i-- {
		e := c.Servers[i]
		names, rates, p50s, p99s = append(names, e.Server), append(rates, e.Rate), append(p50s, e.P50), append(p99s, e.P99)
	}
	return names, rates, p50s, p99s
}

// chart returns a chart of horizontal bars, each with its number.
func chart(title string, names []string, values [][]float64, legend []string) charts.BarChartOption {
	o := charts.NewBarChartOptionWithData(values)
	o.Horizontal = true
	o.Title.Text = title
	o.Title.FontStyle.FontSize = 13
	o.Legend = charts.LegendOption{SeriesNames: legend, Show: charts.Ptr(len(legend) > 0), Offset: charts.OffsetRight}
	o.CategoryAxis.Labels = names
	o.CategoryAxis.LabelFontStyle.FontSize = labelSize
	// A viewer without the font of the SVG may use a wider one, so leave room between names and
	// axis.
	o.CategoryAxis.LabelOffset = charts.OffsetInt{Left: -nameGap}
	o.ValueFormatter = figure
	o.ValueAxis = []charts.ValueAxisOption{{Min: charts.Ptr(0.0), LabelCount: 3, LabelFontStyle: charts.NewFontStyleWithSize(labelSize)}}
	o.Padding = charts.NewBox(10+nameGap, 10, 60, 10)
	for i := range o.SeriesList {
		o.SeriesList[i].Label = charts.SeriesLabel{Show: charts.Ptr(true), ValueFormatter: figure}
	}
	return o
}

// figure returns the short form of a number.
func figure(f float64) string {
	switch {
	case f >= 100 || f == 0:
		return thousands(f)
	case f >= 1:
		return fmt.Sprintf("%.1f", f)
	}
	return fmt.Sprintf("%.2g", f)
}
