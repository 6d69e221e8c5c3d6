// main FOLDER-OF-THE-MODEL WIDTH HEIGHT COLOURS: a file of ARGB numbers, 4 bytes each.
import android.content.Assets
import android.content.Context
import android.graphics.Bitmap
import java.io.File
import java.nio.ByteBuffer

fun main(words: Array<String>) {
    val (folder, width, height, colours) = words
    val numbers = ByteBuffer.wrap(File(colours).readBytes()).asIntBuffer()
    val bitmap = Bitmap(
        width.toInt(),
        height.toInt(),
        IntArray(numbers.remaining()).also { numbers.get(it) },
    )
    System.setOut(java.io.PrintStream(System.out, true, "UTF-8"))
    println(Classifier(Context(Assets(File(folder)))).describe(bitmap))
}
