/* The part of a pooling window that is inside of the image. */

typedef struct {
    int32_t in_height, in_width, channels, out_height, out_width;
    int32_t window_height, window_width, stride_y, stride_x, pad_top, pad_left;
    int32_t low, high;
} Pooling;

typedef struct {
    int32_t top, bottom, left, right; /* bottom and right are outside */
} Window;

static Window window_at(const Pooling *p, int32_t y, int32_t x)
{
    Window w;
    w.top = y * p->stride_y - p->pad_top;
    w.left = x * p->stride_x - p->pad_left;
    w.bottom = clamp(w.top + p->window_height, 0, p->in_height);
    w.right = clamp(w.left + p->window_width, 0, p->in_width);
    w.top = clamp(w.top, 0, p->in_height);
    w.left = clamp(w.left, 0, p->in_width);
    return w;
}
