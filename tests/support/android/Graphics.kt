package android.graphics

import android.content.ContentResolver
import android.net.Uri

class Bitmap(val width: Int, val height: Int, private val colors: IntArray) {
    fun getPixels(to: IntArray, offset: Int, stride: Int, x: Int, y: Int, w: Int, h: Int) {
        check(offset == 0 && stride == width && x == 0 && y == 0 && w == width && h == height)
        colors.copyInto(to)
    }
}

class ImageDecoder {
    class Source

    class ImageInfo

    var allocator = 0

    companion object {
        const val ALLOCATOR_SOFTWARE = 1

        fun createSource(resolver: ContentResolver, uri: Uri) = Source()

        fun decodeBitmap(
            source: Source,
            listener: (ImageDecoder, ImageInfo, Source) -> Unit,
        ): Bitmap = TODO()
    }
}
