export { bin, extent, max, min, quantileSorted } from "d3-array";
export { axisBottom, axisLeft, axisTop } from "d3-axis";
export { format } from "d3-format";
export { scaleLinear, scaleLog } from "d3-scale";
export { select } from "d3-selection";
export { area, line } from "d3-shape";
