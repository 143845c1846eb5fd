/** Compiled to Hello.class with `javac --release 8 -g:none Hello.java`: the suite needs a runtime only. */
public class Hello implements Runnable {
    public void run() {
        System.out.println("hello from a thread");
    }

    public static void main(String[] arguments) throws Exception {
        Thread thread = new Thread(new Hello());
        thread.start();
        thread.join();
        System.gc();
        System.out.println("hello");
    }
}
