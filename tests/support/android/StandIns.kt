// What Classify.kt needs of Android and LiteRT, so that it compiles and runs on a desktop.
package android.content

class ContentResolver

class Context(val assets: Assets)

class Assets(private val folder: java.io.File) {
    fun open(name: String): java.io.InputStream = java.io.File(folder, name).inputStream()
}
